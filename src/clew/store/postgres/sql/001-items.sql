-- What Clew's stores keep in PostgreSQL. Another schema is put in place of `public.` where one is asked for.
-- Times are microseconds since 1970, by this server's clock. Text is bytes: `text` cannot hold every key (no NUL), and its order
-- is the system's affair.

-- Which of these files have been run.
create table public.clew_store_migration (no integer primary key, at timestamptz not null default now());
insert into public.clew_store_migration (no) values (1);

-- An item. `ns`: its labels, joined by ".". `place` stands for `ns` and `key`, of which an index takes some 2,700 bytes at most.
-- `ttl`: milliseconds. `vectors`: one behind the other.
create table public.clew_store_item (
    no bigint generated always as identity primary key,
    created bigint not null,
    updated bigint not null,
    ttl bigint,
    expires bigint,
    place bytea not null unique,
    ns bytea not null,
    key bytea not null,
    value bytea,
    vectors bytea
);
create index clew_store_item_ns on public.clew_store_item (substring(ns for 1000), updated desc);
create index clew_store_item_updated on public.clew_store_item (updated desc);
create index clew_store_item_expires on public.clew_store_item (expires) where expires is not null;

-- Writes that were answered, for a while, and how: one that is asked for again, as nobody heard of it, has the same answer.
create table public.clew_store_done (
    at timestamptz not null default clock_timestamp(),
    nth bigint,
    version bigint,
    token bytea primary key
);
create index clew_store_done_at on public.clew_store_done (at);

-- All of these puts or none. Returns nothing, or the number of the first whose condition does not hold and the version that is
-- there. What `_token` stands for is done once: where another call is at it, this one waits for that, and answers as that did.
create function public.clew_store_write(
    _token bytea, _remember double precision, _places bytea[], _ns bytea[], _keys bytea[], _values bytea[], _vectors bytea[],
    _ttls bigint[], _versions bigint[]
) returns table (nth bigint, version bigint) language plpgsql as $$
declare
    _now bigint;
    _at bigint;
    _held integer;
begin
    insert into public.clew_store_done (token) values (_token) on conflict do nothing;
    if not found then
        return query select d.nth, d.version from public.clew_store_done d where d.token = _token and d.nth is not null;
        return;
    end if;
    loop -- until all rows are there, and ours alone; in one order, so that writers wait for one another and not in a circle
        insert into public.clew_store_item (created, updated, expires, place, ns, key)
        select 0, 0, 0, put.* from unnest(_places, _ns, _keys) put (place, ns, key) order by put.place
        on conflict (place) do nothing;
        perform from public.clew_store_item i where i.place = any (_places) order by i.place for update;
        get diagnostics _held = row_count;
        exit when _held = cardinality(_places);
    end loop;
    _now := extract(epoch from clock_timestamp()) * 1000000;
    select put.n, case when i.expires <= _now then 0 else i.updated end into nth, version
    from unnest(_places, _versions) with ordinality put (place, version, n) join public.clew_store_item i on i.place = put.place
    where put.version <> case when i.expires <= _now then 0 else i.updated end order by put.n limit 1;
    if found then
        delete from public.clew_store_item i where i.place = any (_places) and i.updated = 0;
        update public.clew_store_done d set nth = clew_store_write.nth, version = clew_store_write.version where d.token = _token;
        return next;
        return;
    end if;
    _at := greatest(_now, (select max(i.updated) from public.clew_store_item i) + 1); -- the clock may have been set back
    update public.clew_store_item i set
        value = put.value, vectors = put.vectors, ttl = put.ttl, expires = _now + put.ttl * 1000, updated = _at,
        created = case when i.expires <= _now then _at else i.created end
    from unnest(_places, _values, _vectors, _ttls) put (place, value, vectors, ttl)
    where i.place = put.place and put.value is not null;
    delete from public.clew_store_item i using unnest(_places, _values) put (place, value)
    where i.place = put.place and put.value is null;
    delete from public.clew_store_done where token in (
        select d.token from public.clew_store_done d where d.at < clock_timestamp() - make_interval(secs => _remember)
        limit 8 for update skip locked
    );
end $$;
