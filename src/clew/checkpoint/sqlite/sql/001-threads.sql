-- What a Clew database holds. Whole numbers name threads and logs, so that rows stay lean.

-- A thread. `epoch` rises with every run that writes. The lease says which run has the thread and until when (seconds since
-- 1970), from which checkpoint it began, and whether somebody who waits asks it to stop.
create table thread (
    no integer primary key,
    name text not null unique,
    epoch integer not null,
    seq integer not null,
    lease_run blob,
    lease_owner text,
    lease_base blob,
    lease_until real,
    stop integer not null default 0
);

-- Runs that wait for a thread, in the order they came.
create table waiting (
    n integer primary key,
    thread integer not null,
    run blob not null,
    until real not null,
    unique (thread, run)
);

-- The newest checkpoint of each namespace, and how far its logs are written.
create table head (
    thread integer not null,
    ns text not null,
    no integer not null,
    seq integer,
    logs blob not null,
    primary key (thread, ns)
) without rowid;

create table checkpoint (
    thread integer not null,
    seq integer not null,
    ns integer not null,
    id blob not null,
    parent integer,
    base integer,
    body blob not null
);
create unique index checkpoint_seq on checkpoint (thread, seq);

-- Elements of values: written once, never changed. A plain rowid table keeps its pages full.
create table item (
    thread integer not null,
    log integer not null,
    n integer not null,
    data blob not null
);
create unique index item_place on item (thread, log, n);

-- Outcomes of tasks, kept while their superstep is open.
create table kept (
    thread integer not null,
    seq integer not null,
    task text not null,
    epoch integer not null,
    body blob not null,
    primary key (thread, seq, task)
) without rowid;
