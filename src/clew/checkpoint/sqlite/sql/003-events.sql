-- The event logs of a thread's runs, the newest with the highest number: which numbers the events have, under which epoch of the
-- thread the log was last written, and until when it is kept (seconds since 1970). One index for each table: an empty database
-- pays a page for each.
create table told (
    thread integer not null,
    no integer not null,
    run text not null,
    epoch integer not null,
    last integer not null,
    floor integer not null,
    until real not null,
    ended integer not null,
    primary key (thread, no)
) without rowid;

-- Events that were kept at once, by the number of the first.
create table events (
    thread integer not null,
    told integer not null,
    first integer not null,
    count integer not null,
    body blob not null,
    primary key (thread, told, first)
) without rowid
