-- What Clew keeps in PostgreSQL: the tables. Another schema is put in place of `public.` where one is asked for.
-- Names are bytes: text cannot hold every name (no NUL), and its order is the system's affair. Whole numbers stand for them.

-- Which of these files have been run.
create table public.clew_migration (no integer primary key, at timestamptz not null default now());
insert into public.clew_migration (no) values (1);

-- A thread. `epoch` rises with every run that writes. The lease says which run has the thread and until when, from which
-- checkpoint it began; `stop`: somebody who waits asks it to stop. Changed by every commit, with room to do so in its page.
create table public.clew_thread (
    epoch bigint not null,
    lease_until timestamptz,
    no integer generated always as identity (minvalue -2147483648), -- four billion, in half the room of a bigint
    seq integer not null,
    spaces integer not null default 0,
    stop boolean not null default false,
    name bytea not null unique,
    lease_run bytea,
    lease_owner bytea,
    lease_base bytea
) with (fillfactor = 50);
alter table public.clew_thread alter name set storage plain, alter lease_run set storage plain,
    alter lease_owner set storage plain, alter lease_base set storage plain;

-- Runs that wait for a thread, in the order they came.
create table public.clew_waiting (
    n bigint generated always as identity,
    until timestamptz not null,
    thread integer not null,
    run bytea not null,
    primary key (thread, run)
);
alter table public.clew_waiting alter run set storage plain;

-- The newest checkpoint of each namespace, and how far its logs are written. Most are of graphs inside a task, and soon never
-- change again: no room is left for changes.
create table public.clew_head (
    thread integer not null,
    seq integer,
    space integer not null,
    ns bytea not null,
    logs bytea not null,
    primary key (thread, ns)
);

-- Checkpoints, which are never changed. `space` is the namespace's number; `data` is the first twelve bytes of the id, which ends
-- in the seq, and the body.
create table public.clew_checkpoint (
    thread integer not null,
    seq integer not null,
    space integer not null,
    base integer,
    parent integer, -- 0: it has none; null: it is the one before, as it is mostly
    data bytea not null,
    primary key (thread, seq) with (fillfactor = 100)
);

-- Elements of values, which are never changed either. `space` * 65536 + `log` is the number of its log, and `n` its own.
create table public.clew_item (
    thread integer not null,
    space integer not null,
    log integer not null,
    n integer not null,
    data bytea not null,
    primary key (thread, space, log, n) with (fillfactor = 100)
);

-- Outcomes of tasks, kept while their superstep is open.
create table public.clew_kept (
    thread integer not null,
    seq integer not null,
    task bytea not null,
    body bytea not null,
    primary key (thread, seq, task)
);
