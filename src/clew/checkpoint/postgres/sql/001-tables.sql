-- What Clew keeps in PostgreSQL: the tables. Another schema is put in place of `public.` where one is asked for.
-- Names are bytes: text cannot hold every name (no NUL), and its order is the system's affair. Whole numbers stand for them.

-- Which of these files have been run.
create table public.clew_migration (no integer primary key, at timestamptz not null default now());
insert into public.clew_migration (no) values (1);

-- A thread. `epoch` rises with every run that writes. The lease says which run has the thread and until when, from which
-- checkpoint it began; `stop`: somebody who waits asks it to stop. Changed by every commit, with room to do so in its page.
create table public.clew_thread (
    no bigint generated always as identity,
    epoch bigint not null,
    seq bigint not null,
    lease_until timestamptz,
    spaces integer not null default 0,
    stop boolean not null default false,
    name bytea not null unique,
    lease_run bytea,
    lease_owner bytea,
    lease_base bytea
) with (fillfactor = 50);

-- Runs that wait for a thread, in the order they came.
create table public.clew_waiting (
    n bigint generated always as identity,
    thread bigint not null,
    until timestamptz not null,
    run bytea not null,
    primary key (thread, run)
);

-- The newest checkpoint of each namespace, and how far its logs are written; changed by every commit as well.
create table public.clew_head (
    thread bigint not null,
    seq bigint,
    no integer not null,
    ns bytea not null,
    logs bytea not null,
    primary key (thread, ns)
) with (fillfactor = 50);

create table public.clew_checkpoint (
    thread bigint not null,
    seq bigint not null,
    parent bigint,
    base bigint,
    ns integer not null,
    id bytea not null,
    body bytea not null,
    primary key (thread, seq)
);

-- Elements of values: written once, never changed.
create table public.clew_item (
    thread bigint not null,
    log bigint not null,
    n bigint not null,
    data bytea not null,
    primary key (thread, log, n)
);

-- Outcomes of tasks, kept while their superstep is open.
create table public.clew_kept (
    thread bigint not null,
    seq bigint not null,
    task bytea not null,
    body bytea not null,
    primary key (thread, seq, task)
);
