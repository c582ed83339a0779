-- Checkpoints stand together, many in one value: most are of a hundred bytes, of which each row and its entry in an index take
-- as much again. A commit puts its own before those of the thread's tail, in the row that it changes anyhow.

insert into public.clew_migration (no) values (6);

-- Closed segments, in the order they were committed, which `last` has as well: no checkpoint of a segment has a lower seq than
-- `first`, none a higher one than `last`; those of several may overlap, as graphs side by side take their numbers before they
-- write. `data` is records as `clew.checkpoint.segments` has them, the newest first. Compressed where they stand: two or three
-- thousand bytes are worth it, and too few to be kept elsewhere.
create table public.clew_segment (
    thread integer not null,
    first integer not null,
    last integer not null,
    data bytea not null,
    primary key (thread, last) with (fillfactor = 100)
) with (toast_tuple_target = 128);
alter table public.clew_segment alter data set storage main;

-- `tail` is the newest segment, to which commits add, and null where all are closed. It ends the row, and what is new begins it:
-- so what the server logs of a commit is little more than what that adds. `tail_first`: no checkpoint there has a lower seq.
-- `checkpoints`: how many there are, of all segments.
alter table public.clew_thread add checkpoints integer not null default 0, add tail_first integer, add tail bytea,
    alter tail set storage external, set (toast_tuple_target = 8160);

-- `span`: how far before its head the lowest seq of a namespace is, -1 for further than a byte can say. Names are long: so the ids of
-- tasks in them are sixteen bytes, after one that no text has, and a name is found by four bytes that are made of it.
create function public.clew_packed(_ns bytea) returns bytea language plpgsql as $$
declare
    _packed bytea := '';
    _rest text := encode(_ns, 'escape');
    _parts text[];
begin
    loop
        _parts := regexp_match(_rest, '^(.*?):([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})(.*)$');
        exit when _parts is null;
        _packed := _packed || decode(_parts[1], 'escape') || '\xff' || decode(array_to_string(_parts[2:6], ''), 'hex');
        _rest := _parts[7];
    end loop;
    return _packed || decode(_rest, 'escape');
end $$;
create function public.clew_short(_name bytea) returns integer language sql immutable as $$
    select ('x' || encode(substring(sha256(_name) for 4), 'hex'))::bit(32)::integer;
$$;
create function public.clew_span(_seqs integer) returns "char" language sql immutable as $$
    select (case when _seqs between 0 and 127 then _seqs else -1 end)::"char";
$$;
alter table public.clew_head add span "char" not null default (-1)::"char";
update public.clew_head h set ns = public.clew_packed(h.ns), span = public.clew_span(h.seq - c.first)
from public.clew_head i left join (
    select thread, space, min(seq) first from public.clew_checkpoint group by thread, space
) c on c.thread = i.thread and c.space = i.space where i.thread = h.thread and i.ns = h.ns;
drop function public.clew_packed(bytea);
alter table public.clew_head drop constraint clew_head_pkey;
create index clew_head_short on public.clew_head (thread, public.clew_short(ns));

insert into public.clew_segment (thread, first, last, data)
select thread, min(seq), max(seq), string_agg(
    '\x00'::bytea || int4send(space) || int4send(seq) || int4send(coalesce(parent, seq - 1)) || int4send(coalesce(base, 0))
    || int4send(octet_length(data) - 12) || data, '' order by seq desc)
from (
    select *, sum(octet_length(data) + 20) over (partition by thread order by seq) / 3775 as part from public.clew_checkpoint
) c group by thread, part;
update public.clew_thread t set checkpoints = c.count
from (select thread, count(*) from public.clew_checkpoint group by thread) c where c.thread = t.no;
drop table public.clew_checkpoint;

drop function public.clew_find(bytea, bytea, bigint, bigint, integer, boolean);

-- Of a checkpoint that stands in `_data` the parent and the row that it adds to, 0 for none; null where it does not seem to stand
-- there. Who reads that makes sure: the same bytes may stand anywhere in a checkpoint.
create function public.clew_named(_data bytea, _space integer, _seq integer) returns integer[] language plpgsql immutable as $$
declare
    _place integer := position(substring(int4send(_space) from 3) || int4send(_seq) in _data);
    _numbers bytea := substring(_data from _place + 6 for 8);
begin
    if not coalesce(_place > 1, false) or length(_numbers) < 8 then
        return null;
    end if;
    if get_byte(_data, _place - 2) = 1 then
        return array[
            _seq - coalesce(nullif(get_byte(_numbers, 0), 0), _seq), _seq - coalesce(nullif(get_byte(_numbers, 1), 0), _seq)
        ];
    end if;
    return array[
        ('x' || encode(substring(_numbers for 4), 'hex'))::bit(32)::integer,
        ('x' || encode(substring(_numbers from 5), 'hex'))::bit(32)::integer
    ];
end $$;

-- How a namespace stands; the tail of its thread; the outcomes beside checkpoint `_seq`, or beside its head. Of the closed
-- segments those in which this one, its parent and the row that it adds to may stand, and the one after where a `_seq` is given,
-- the oldest first, with their `lasts`. `sought`: whichever of these seqs is not in what is returned is nowhere. `top`: the `last`
-- of the one after, null where none is newer.
create function public.clew_find(_thread bytea, _ns bytea, _seq bigint) returns table (
    epoch bigint, last integer, spaces integer, head integer, number integer, logs bytea,
    lease_run bytea, lease_owner bytea, lease_base bytea, lease_seconds double precision,
    tail bytea, lasts integer[], segments bytea[], sought integer[], top integer,
    kept integer[], tasks bytea[], outcomes bytea[]
) language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    t public.clew_thread;
    s public.clew_segment;
    _space integer;
    _head integer;
    _logs bytea;
    _at integer;
    _named integer[];
    _near integer;
    _next integer;
    _top integer;
    _lasts integer[];
    _segments bytea[];
    _sought integer[];
    _kept integer[];
    _tasks bytea[];
    _outcomes bytea[];
begin
    select * into t from public.clew_thread where name = _thread;
    if t.no is null then
        return;
    end if;
    if _ns = '' then
        _space := t.space;
        _head := t.head;
        _logs := t.logs;
    else
        select i.space, i.seq, i.logs into _space, _head, _logs from public.clew_head i
        where i.thread = t.no and public.clew_short(i.ns) = public.clew_short(_ns) and i.ns = _ns;
    end if;
    _at := least(coalesce(_seq, _head), 2147483647);
    if _space is not null and _at is not null then
        _named := public.clew_named(t.tail, _space, _at);
        if _named is null then
            for s in
                select * from public.clew_segment s where s.thread = t.no and s.last >= _at and s.first <= _at order by s.last
            loop
                _named := public.clew_named(s.data, _space, _at);
                exit when _named is not null;
            end loop;
            _sought := array[_at];
            if _seq is not null then
                select min(n.last) into _next from public.clew_segment n where n.thread = t.no and n.last > s.last;
                select _next into _top where exists (select from public.clew_segment n where n.thread = t.no and n.last > _next);
            end if;
        end if;
        foreach _near in array coalesce(_named, '{}') loop
            if _near > 0 and _near < t.tail_first then
                _sought := _sought || _near;
            end if;
        end loop;
        if _sought is not null then
            select array_agg(n.last order by n.last), array_agg(n.data order by n.last) into _lasts, _segments
            from public.clew_segment n where n.thread = t.no and n.last >= (select min(seq) from unnest(_sought) seq)
            and (n.last = _next or (
                n.first <= (select max(seq) from unnest(_sought) seq)
                and exists (select from unnest(_sought) seq where seq >= n.first and seq <= n.last)
            ));
        end if;
        select array_agg(k.seq), array_agg(k.task), array_agg(k.body) into _kept, _tasks, _outcomes
        from public.clew_kept k where k.thread = t.no and k.seq = _at;
    end if;
    return query select
        t.epoch, t.seq, t.spaces, _head, _space, _logs, t.lease_run, t.lease_owner, t.lease_base,
        extract(epoch from t.lease_until - clock_timestamp())::double precision,
        t.tail, _lasts, _segments, _sought, _top, _kept, _tasks, _outcomes;
end $$;

-- How a namespace stands; what may hold its checkpoints below `_before`: the tail of its thread, `_limit` closed segments, those
-- above them that begin lower, and the next one up, whose `last` is `top` where there are newer ones. From seq `bottom` on all are
-- here; `more`: others are below that. Beside them the outcomes of checkpoints that may be among these.
create function public.clew_scan(_thread bytea, _ns bytea, _before bigint, _limit integer) returns table (
    head integer, number integer, logs bytea, last integer,
    tail_first integer, tail bytea, firsts integer[], lasts integer[], segments bytea[],
    bottom integer, more boolean, top integer, kept integer[], tasks bytea[], outcomes bytea[]
) language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    t public.clew_thread;
    _space integer;
    _head integer;
    _logs bytea;
    _first integer := 0;
    _at integer;
    _next integer;
    _top integer;
    _bottom integer;
    _more boolean;
    _firsts integer[];
    _lasts integer[];
    _segments bytea[];
begin
    select * into t from public.clew_thread where name = _thread;
    if _ns = '' then
        _space := t.space;
        _head := t.head;
        _logs := t.logs;
    else
        select i.space, i.seq, i.logs, case when i.span::integer >= 0 then i.seq - i.span::integer else 0 end
        into _space, _head, _logs, _first from public.clew_head i
        where i.thread = t.no and public.clew_short(i.ns) = public.clew_short(_ns) and i.ns = _ns;
    end if;
    if _head is null then
        return;
    end if;
    _at := least(_before, _head + 1);
    select min(n.last) into _next from public.clew_segment n where n.thread = t.no and n.last >= _at;
    select _next into _top where exists (select from public.clew_segment n where n.thread = t.no and n.last > _next);
    select array_agg(f.first order by f.last), array_agg(f.last order by f.last), array_agg(f.data order by f.last), min(f.last)
    into _firsts, _lasts, _segments, _bottom from (
        (select * from public.clew_segment n where n.thread = t.no and n.last < _at and n.last >= _first
        order by n.last desc limit _limit)
        union all
        select * from public.clew_segment n where n.thread = t.no and n.last >= _at and (n.last = _next or n.first <= _at)
    ) f;
    _more := exists (select from public.clew_segment n where n.thread = t.no and n.last < _bottom and n.last >= _first);
    if not _more then
        _bottom := _first;
    end if;
    return query select
        _head, _space, _logs, t.seq, t.tail_first, t.tail, _firsts, _lasts, _segments, _bottom, _more, _top,
        array_agg(k.seq), array_agg(k.task), array_agg(k.body)
    from public.clew_kept k where k.thread = t.no and k.seq < _at
    and k.seq >= coalesce(least((select min(first) from unnest(_firsts) first), t.tail_first), 0);
end $$;

-- Closed segments of a thread, the oldest first, that end at `_last` or above and begin at `_first` or below.
create function public.clew_segments(_thread bytea, _last bigint, _first bigint, _limit integer) returns table (
    last integer, data bytea
) language sql stable set enable_seqscan = off set enable_bitmapscan = off as $$
    select s.last, s.data from public.clew_segment s
    where s.thread = (select no from public.clew_thread where name = _thread) and s.last >= _last and s.first <= _first
    order by s.last limit _limit;
$$;

drop function public.clew_commit(
    bytea, bigint, integer, bigint, bigint, bytea, bigint, bigint, bytea, bigint, boolean, bytea, bytea, bytea, double precision,
    bigint[], bigint[], bigint[], bytea[], bigint[], bytea[], bytea[], integer[], bigint[], bigint[], bigint[], bytea[],
    bytea, integer, bigint, bigint, bytea
);

-- Writes a batch whole or not at all; whatever it has none of is left out of the call. Returns whether the run is asked to stop.
-- A thread or a head that is not what the batch expects is a unique_violation, as is a number or a name that another has taken.
-- `_space` to `_logs` is the graph's own namespace: its head moves where there are `_logs`, to `_seq` where there is one; that of
-- a graph inside a task moves by `_inner_…`. `_records` are the `_count` checkpoints that come along, the newest first, `_first` is
-- their lowest seq; where they are many, the older ones come in `_segments`, the oldest first. Where the tail would grow too long by
-- them it is closed, and they are the new one: what a commit writes anew has to find room in its page beside what was there before.
create function public.clew_commit(
    _thread bytea, _epoch bigint,
    _space integer default null, _head bigint default null, _seq bigint default null, _logs bytea default null,
    _claim bigint default 0, _release boolean default false, _lease_run bytea default null, _lease_owner bytea default null,
    _lease_base bytea default null, _lease_seconds double precision default null,
    _item_spaces bigint[] default null, _item_logs bigint[] default null, _item_ns bigint[] default null,
    _items bytea[] default null,
    _kept_seqs bigint[] default null, _tasks bytea[] default null, _outcomes bytea[] default null,
    _records bytea default null, _first bigint default null, _count integer default 0,
    _firsts integer[] default null, _lasts integer[] default null, _segments bytea[] default null,
    _inner_ns bytea default null, _inner_space integer default null, _inner_head bigint default null,
    _inner_seq bigint default null, _inner_logs bytea default null
) returns boolean language plpgsql set enable_seqscan = off as $$
declare
    _until timestamptz;
    _no integer;
    _stop boolean;
    _closes boolean := _segments is not null;
begin
    if _lease_run is not null then
        _until := clock_timestamp() + make_interval(secs => _lease_seconds);
    end if;
    loop
        if _closes then
            perform from public.clew_thread where name = _thread for no key update; -- and then what is seen is what stands there
            insert into public.clew_segment (thread, first, last, data)
            select no, tail_first, greatest(seq, (select max(last) + 1 from public.clew_segment s where s.thread = t.no)), tail
            from public.clew_thread t where name = _thread and epoch = _epoch and tail is not null;
            update public.clew_thread set tail_first = null, tail = null where name = _thread and epoch = _epoch;
        end if;
        if _epoch = 0 then
            insert into public.clew_thread
                (name, epoch, seq, spaces, lease_run, lease_owner, lease_base, lease_until, space, head, logs,
                checkpoints, tail_first, tail)
            select _thread, _claim, coalesce(greatest(_seq, _inner_seq), 0), coalesce(greatest(_space, _inner_space) + 1, 0),
                _lease_run, _lease_owner, _lease_base, _until, _space, _seq, _logs, _count, _first, _records
            where _head is null returning no, stop into _no, _stop;
        elsif _claim > 0 or _release or _lease_run is not null then
            update public.clew_thread set
                epoch = greatest(epoch, _claim), seq = greatest(seq, _seq, _inner_seq),
                spaces = greatest(spaces, _space + 1, _inner_space + 1),
                lease_run = _lease_run, lease_owner = _lease_owner, lease_base = _lease_base, lease_until = _until,
                stop = stop and _claim = 0,
                space = coalesce(_space, space), head = coalesce(_seq, head), logs = coalesce(_logs, logs),
                checkpoints = checkpoints + _count, tail_first = least(tail_first, _first),
                tail = coalesce(_records || tail, _records, tail)
            where name = _thread and epoch = _epoch
            and (_logs is null or (head is not distinct from _head and coalesce(space = _space and _seq > head, true)))
            and (octet_length(tail) + octet_length(_records) + coalesce(octet_length(logs), 0) <= 3775) is not false
            returning no, stop into _no, _stop;
        elsif _logs is not null then
            update public.clew_thread set
                seq = greatest(seq, _seq, _inner_seq), spaces = greatest(spaces, _space + 1, _inner_space + 1),
                space = _space, head = coalesce(_seq, head), logs = _logs,
                checkpoints = checkpoints + _count, tail_first = least(tail_first, _first),
                tail = coalesce(_records || tail, _records, tail)
            where name = _thread and epoch = _epoch and head is not distinct from _head
            and coalesce(space = _space, true) and coalesce(_seq > head, true)
            and (octet_length(tail) + octet_length(_records) + coalesce(octet_length(logs), 0) <= 3775) is not false
            returning no, stop into _no, _stop;
        elsif _inner_ns is not null or _records is not null then
            update public.clew_thread set
                seq = greatest(seq, _inner_seq), spaces = greatest(spaces, _inner_space + 1),
                checkpoints = checkpoints + _count, tail_first = least(tail_first, _first),
                tail = coalesce(_records || tail, _records, tail)
            where name = _thread and epoch = _epoch
            and (octet_length(tail) + octet_length(_records) + coalesce(octet_length(logs), 0) <= 3775) is not false
            returning no, stop into _no, _stop;
        else
            select no, stop from public.clew_thread where name = _thread and epoch = _epoch for no key update into _no, _stop;
        end if;
        exit when _no is not null or _closes or _records is null;
        _closes := true;
    end loop;
    if _no is null then
        raise unique_violation using message = 'another run has the thread, or has moved its head';
    end if;
    if _segments is not null then
        insert into public.clew_segment (thread, first, last, data)
        select _no, s.first, greatest(s.last, (select max(last) from public.clew_segment where thread = _no) + s.n), s.data
        from unnest(_firsts, _lasts, _segments) with ordinality s (first, last, data, n);
    end if;
    if _items is not null then
        insert into public.clew_item (thread, space, log, n, data)
        select _no, * from unnest(_item_spaces, _item_logs, _item_ns, _items);
    end if;
    if _claim > 0 and _lease_run is not null then
        delete from public.clew_waiting where thread = _no and run = _lease_run;
    end if;
    if _tasks is not null then
        insert into public.clew_kept (thread, seq, task, body) select _no, * from unnest(_kept_seqs, _tasks, _outcomes)
        on conflict (thread, seq, task) do update set body = excluded.body;
    end if;
    if _inner_ns is not null then
        update public.clew_head set seq = coalesce(_inner_seq, seq), logs = _inner_logs,
            span = case when _inner_seq > seq then public.clew_span(
                case when span::integer >= 0 then span::integer + _inner_seq::integer - seq end
            ) else span end
        where thread = _no and public.clew_short(ns) = public.clew_short(_inner_ns) and ns = _inner_ns
        and space = _inner_space and seq is not distinct from _inner_head and coalesce(_inner_seq > seq, true);
        if not found then
            if _inner_head is not null or exists (
                select from public.clew_head
                where thread = _no and public.clew_short(ns) = public.clew_short(_inner_ns) and ns = _inner_ns
            ) then
                raise unique_violation using message = 'another run has moved the head';
            end if;
            insert into public.clew_head (thread, ns, space, seq, logs, span) values (
                _no, _inner_ns, _inner_space, _inner_seq, _inner_logs,
                public.clew_span(_inner_seq::integer - coalesce(_firsts[1], _first::integer))
            );
        end if;
    end if;
    return _stop;
end $$;

create or replace function public.clew_drop(_thread bytea) returns void language plpgsql set enable_seqscan = off as $$
declare
    _no integer;
begin
    delete from public.clew_thread where name = _thread returning no into _no;
    delete from public.clew_waiting where thread = _no;
    delete from public.clew_head where thread = _no;
    delete from public.clew_segment where thread = _no;
    delete from public.clew_item where thread = _no;
    delete from public.clew_kept where thread = _no;
end $$;

drop function public.clew_prune(
    bytea, bigint, bigint[], bigint[], bigint[], bigint[], bytea[], bigint[], bigint[], bigint[], bigint[], bigint[],
    bigint[], bigint[], bigint[], bytea[]
);

-- Puts others in place of closed segments, by their `last`, null for one that goes, and of the tail, where that is what it was; so
-- `_gone` checkpoints go, of which `_rows` may have outcomes beside them. Deletes namespaces and ranges of items, and puts items in
-- place of those that were there. A unique_violation where the epoch is another, or the tail.
create function public.clew_prune(
    _thread bytea, _epoch bigint, _rows bigint[], _gone integer,
    _lasts integer[], _segments bytea[], _was bytea, _tail bytea,
    _spaces bigint[], _row_spaces bigint[], _logs bigint[], _from bigint[], _to bigint[],
    _item_spaces bigint[], _item_logs bigint[], _item_ns bigint[], _items bytea[]
) returns void language plpgsql set enable_seqscan = off as $$
declare
    _no integer;
begin
    update public.clew_thread set checkpoints = checkpoints - _gone, tail = case when _was is null then tail else _tail end
    where name = _thread and epoch = _epoch and (_was is null or tail = _was) returning no into _no;
    if _no is null then
        raise unique_violation using message = 'another run has the thread';
    end if;
    update public.clew_segment r set data = s.data from unnest(_lasts, _segments) s (last, data)
    where r.thread = _no and r.last = s.last and s.data is not null;
    delete from public.clew_segment r using unnest(_lasts, _segments) s (last, data)
    where r.thread = _no and r.last = s.last and s.data is null;
    delete from public.clew_kept where thread = _no and seq = any (_rows);
    update public.clew_thread set space = null, head = null, logs = null where name = _thread and space = any (_spaces);
    delete from public.clew_head where thread = _no and space = any (_spaces);
    delete from public.clew_item r using unnest(_row_spaces, _logs, _from, _to) s (space, log, first, last)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n >= s.first and r.n < s.last;
    update public.clew_item r set data = s.data from unnest(_item_spaces, _item_logs, _item_ns, _items) s (space, log, n, data)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n = s.n;
end $$;
