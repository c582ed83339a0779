-- The event logs of runs, kept with their threads.

insert into public.clew_migration (no) values (3);

-- A run's log: which numbers it has, under which epoch of its thread it was last written, and until when it is kept. The newest
-- of a thread has the highest number.
create table public.clew_told (
    no bigint generated always as identity primary key,
    epoch bigint not null,
    last bigint not null,
    floor bigint not null,
    until timestamptz not null,
    thread integer not null,
    ended boolean not null,
    run bytea not null,
    unique (thread, run)
) with (fillfactor = 50);
create index clew_told_until on public.clew_told (until);

-- Events that were kept at once, by the number of the first.
create table public.clew_events (
    told bigint not null,
    first bigint not null,
    count integer not null,
    body bytea not null,
    primary key (told, first)
);

-- Adds to the log of a run, in the transaction of what it tells of.
create function public.clew_tell(
    _thread bytea, _epoch bigint, _run bytea, _first bigint, _count integer, _body bytea, _floor bigint,
    _seconds double precision, _ended boolean
) returns void language plpgsql set enable_seqscan = off as $$
declare
    _last bigint := coalesce(_first + _count - 1, 0);
    _until timestamptz := clock_timestamp() + make_interval(secs => _seconds);
    _no bigint;
begin
    insert into public.clew_told as o (thread, run, epoch, last, floor, until, ended)
    select t.no, _run, _epoch, _last, _floor, _until, _ended from public.clew_thread t where t.name = _thread
    on conflict (thread, run) do update set epoch = _epoch, last = greatest(o.last, _last),
        floor = greatest(o.floor, _floor), until = _until, ended = _ended
    returning o.no into _no;
    if _first is not null then
        insert into public.clew_events (told, first, count, body) values (_no, _first, _count, _body)
        on conflict (told, first) do update set count = _count, body = _body;
    end if;
    delete from public.clew_events where told = _no and first + count <= _floor and first < _floor;
end $$;

-- A log is expired once its time is over, and it has ended or nobody has the thread.
create function public.clew_expired(_until timestamptz, _ended boolean, _lease timestamptz) returns boolean
language sql volatile as $$
    select _until <= clock_timestamp() and (_ended or _lease is null or _lease <= clock_timestamp());
$$;

-- A run's log, or the thread's newest, with its groups above a number: a line for each, one without where there are none.
create function public.clew_told_of(_thread bytea, _run bytea, _after bigint, _limit integer) returns table (
    run bytea, epoch bigint, latest boolean, last bigint, floor bigint, ended boolean,
    lease_run bytea, lease_owner bytea, lease_base bytea, lease_seconds double precision,
    first bigint, count integer, body bytea
) language plpgsql stable set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    select
        o.run, o.epoch, not exists (select 1 from public.clew_told n where n.thread = o.thread and n.no > o.no),
        o.last, o.floor, o.ended, t.lease_run, t.lease_owner, t.lease_base,
        extract(epoch from t.lease_until - clock_timestamp())::double precision,
        e.first, e.count, e.body
    from public.clew_thread t
    join lateral (
        select * from public.clew_told o where o.thread = t.no and (_run is null or o.run = _run) order by o.no desc limit 1
    ) o on true
    left join lateral (
        select * from public.clew_events e where e.told = o.no and e.first + e.count - 1 > _after order by e.first limit _limit
    ) e on true
    where t.name = _thread and not public.clew_expired(o.until, o.ended, t.lease_until)
    order by e.first;
end $$;

-- Deletes expired logs, `_limit` at most; those that another is deleting are left to it.
create function public.clew_expire(_limit integer) returns integer language plpgsql as $$
declare
    _gone bigint[];
begin
    select array_agg(no) into _gone from (
        select o.no from public.clew_told o left join public.clew_thread t on t.no = o.thread
        where o.until <= clock_timestamp() and public.clew_expired(o.until, o.ended, t.lease_until)
        order by o.until limit _limit for update of o skip locked
    ) expired;
    delete from public.clew_events where told = any (_gone);
    delete from public.clew_told where no = any (_gone);
    return coalesce(cardinality(_gone), 0);
end $$;

-- Deletes the logs of a thread, before the thread.
create function public.clew_untell(_thread bytea) returns void language plpgsql set enable_seqscan = off as $$
declare
    _gone bigint[];
begin
    select array_agg(o.no) into _gone from public.clew_told o join public.clew_thread t on t.no = o.thread where t.name = _thread;
    delete from public.clew_events where told = any (_gone);
    delete from public.clew_told where no = any (_gone);
end $$;
