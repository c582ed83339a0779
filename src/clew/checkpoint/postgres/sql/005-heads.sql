-- The head of a graph itself, whose namespace has no name, stands in the row of its thread, which each of its commits changes
-- anyhow; the heads of graphs inside tasks stay where they are. A commit that writes a row for a thread, another for its head and
-- a third for its checkpoint costs the server more than all else.

insert into public.clew_migration (no) values (5);
alter table public.clew_migration drop constraint clew_migration_pkey; -- two pages of an index for a handful of rows

alter table public.clew_thread add space integer, add head integer, add logs bytea;
update public.clew_thread t set space = h.space, head = h.seq, logs = h.logs
from public.clew_head h where h.thread = t.no and h.ns = '';
delete from public.clew_head where ns = '';

create or replace function public.clew_find(
    _thread bytea, _ns bytea, _first bigint, _last bigint, _limit integer, _followed boolean
) returns table (
    epoch bigint, last integer, spaces integer, head integer, number integer, logs bytea,
    lease_run bytea, lease_owner bytea, lease_base bytea, lease_seconds double precision,
    seq integer, parent integer, base integer, data bytea,
    base_parent integer, base_base integer, base_data bytea,
    parent_seq integer, parent_id bytea,
    next_seq integer, next_parent integer, next_base integer, next_data bytea,
    tasks bytea[], outcomes bytea[]
) language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if not exists (select from public.clew_thread where name = _thread) then
        return;
    end if;
    return query
    select
        t.epoch, t.seq, t.spaces, h.seq, h.space, h.logs,
        t.lease_run, t.lease_owner, t.lease_base,
        extract(epoch from t.lease_until - clock_timestamp())::double precision,
        c.seq, c.parent, c.base, c.data,
        b.parent, b.base, b.data,
        p.seq, p.id,
        a.seq, a.parent, a.base, a.data,
        k.tasks, k.outcomes
    from public.clew_thread t
    left join lateral (
        select t.space, t.head, t.logs where _ns = '' and t.space is not null
        union all
        select i.space, i.seq, i.logs from public.clew_head i where _ns <> '' and i.thread = t.no and i.ns = _ns
    ) h (space, seq, logs) on true
    left join lateral (
        select * from public.clew_checkpoint c where c.thread = t.no and c.space = h.space
        and c.seq >= coalesce(_first, h.seq) and c.seq <= coalesce(_last, h.seq) order by c.seq desc limit _limit
    ) c on true
    left join lateral (
        select * from public.clew_checkpoint b where b.thread = t.no and b.seq = c.base
    ) b on true
    left join lateral (
        select p.seq, substring(p.data for 12) id from public.clew_checkpoint p
        where p.thread = t.no and p.seq = coalesce(c.parent, c.seq - 1)
    ) p on true
    left join lateral (
        select * from public.clew_checkpoint a where _followed and a.thread = t.no and a.space = h.space
        and a.seq > c.seq and coalesce(a.parent, a.seq - 1) = c.seq order by a.seq limit 1
    ) a on true
    left join lateral (
        select array_agg(k.task) tasks, array_agg(k.body) outcomes from public.clew_kept k
        where k.thread = t.no and k.seq = c.seq
    ) k on true
    where t.name = _thread
    order by c.seq desc;
end $$;

drop function public.clew_commit(
    bytea, bytea, integer, bigint, bigint, bigint, bigint, bytea, bytea, bytea, bytea, double precision, boolean,
    bigint[], bigint[], bigint[], bytea[], bigint[], bigint[], bigint[], bytea[], bigint[], bytea[], bytea[]
);

-- Writes a batch whole or not at all; whatever it has none of is left out of the call. Returns whether the run is asked to stop.
-- A thread or a head that is not what the batch expects is a unique_violation, as is a number or a name that another has taken.
-- `_space` to `_row` is the graph's own namespace: its head moves where there are `_logs`, to `_row` where there is one. Further
-- rows come as arrays, and so do those of a graph inside a task, whose head moves by `_inner_…`.
create function public.clew_commit(
    _thread bytea, _epoch bigint,
    _space integer default null, _head bigint default null, _seq bigint default null, _logs bytea default null,
    _parent bigint default null, _base bigint default null, _row bytea default null,
    _claim bigint default 0, _release boolean default false, _lease_run bytea default null, _lease_owner bytea default null,
    _lease_base bytea default null, _lease_seconds double precision default null,
    _item_spaces bigint[] default null, _item_logs bigint[] default null, _item_ns bigint[] default null,
    _items bytea[] default null,
    _kept_seqs bigint[] default null, _tasks bytea[] default null, _outcomes bytea[] default null,
    _row_spaces integer[] default null, _seqs bigint[] default null, _parents bigint[] default null,
    _bases bigint[] default null, _rows bytea[] default null,
    _inner_ns bytea default null, _inner_space integer default null, _inner_head bigint default null,
    _inner_seq bigint default null, _inner_logs bytea default null
) returns boolean language plpgsql set enable_seqscan = off as $$
declare
    _until timestamptz;
    _no integer;
    _stop boolean;
begin
    if _lease_run is not null then
        _until := clock_timestamp() + make_interval(secs => _lease_seconds);
    end if;
    if _epoch = 0 then
        insert into public.clew_thread
            (name, epoch, seq, spaces, lease_run, lease_owner, lease_base, lease_until, space, head, logs)
        select _thread, _claim, coalesce(greatest(_seq, _inner_seq), 0), coalesce(greatest(_space, _inner_space) + 1, 0),
            _lease_run, _lease_owner, _lease_base, _until, _space, _seq, _logs
        where _head is null returning no, stop into _no, _stop;
    elsif _claim > 0 or _release or _lease_run is not null then
        update public.clew_thread set
            epoch = greatest(epoch, _claim), seq = greatest(seq, _seq, _inner_seq),
            spaces = greatest(spaces, _space + 1, _inner_space + 1),
            lease_run = _lease_run, lease_owner = _lease_owner, lease_base = _lease_base, lease_until = _until,
            stop = stop and _claim = 0,
            space = coalesce(_space, space), head = coalesce(_seq, head), logs = coalesce(_logs, logs)
        where name = _thread and epoch = _epoch
        and (_logs is null or (head is not distinct from _head and coalesce(space = _space, true)))
        returning no, stop into _no, _stop;
    elsif _logs is not null then
        update public.clew_thread set
            seq = greatest(seq, _seq, _inner_seq), spaces = greatest(spaces, _space + 1, _inner_space + 1),
            space = _space, head = coalesce(_seq, head), logs = _logs
        where name = _thread and epoch = _epoch and head is not distinct from _head and coalesce(space = _space, true)
        returning no, stop into _no, _stop;
    elsif _inner_ns is not null then
        update public.clew_thread set seq = greatest(seq, _inner_seq), spaces = greatest(spaces, _inner_space + 1)
        where name = _thread and epoch = _epoch returning no, stop into _no, _stop;
    else
        select no, stop from public.clew_thread where name = _thread and epoch = _epoch for no key update into _no, _stop;
    end if;
    if _no is null then
        raise unique_violation using message = 'another run has the thread, or has moved its head';
    end if;
    if _row is not null then
        insert into public.clew_checkpoint (thread, space, seq, parent, base, data)
        values (_no, _space, _seq, _parent, _base, _row);
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
    if _rows is not null then
        insert into public.clew_checkpoint (thread, space, seq, parent, base, data)
        select _no, * from unnest(_row_spaces, _seqs, _parents, _bases, _rows);
    end if;
    if _inner_ns is not null then
        update public.clew_head set seq = coalesce(_inner_seq, seq), logs = _inner_logs
        where thread = _no and ns = _inner_ns and space = _inner_space and seq is not distinct from _inner_head;
        if not found then
            if _inner_head is not null then
                raise unique_violation using message = 'another run has moved the head';
            end if;
            insert into public.clew_head (thread, ns, space, seq, logs)
            values (_no, _inner_ns, _inner_space, _inner_seq, _inner_logs);
        end if;
    end if;
    return _stop;
end $$;

create or replace function public.clew_prune(
    _thread bytea, _epoch bigint, _rows bigint[],
    _seqs bigint[], _parents bigint[], _bases bigint[], _bodies bytea[],
    _spaces bigint[], _row_spaces bigint[], _logs bigint[], _from bigint[], _to bigint[],
    _item_spaces bigint[], _item_logs bigint[], _item_ns bigint[], _items bytea[]
) returns void language plpgsql set enable_seqscan = off as $$
declare
    _no integer;
begin
    select no from public.clew_thread where name = _thread and epoch = _epoch for no key update into _no;
    if _no is null then
        raise unique_violation using message = 'another run has the thread';
    end if;
    delete from public.clew_checkpoint where thread = _no and seq = any (_rows);
    delete from public.clew_kept where thread = _no and seq = any (_rows);
    update public.clew_checkpoint r set parent = s.parent, base = s.base, data = s.data
    from unnest(_seqs, _parents, _bases, _bodies) s (seq, parent, base, data)
    where r.thread = _no and r.seq = s.seq;
    update public.clew_thread set space = null, head = null, logs = null where name = _thread and space = any (_spaces);
    delete from public.clew_head where thread = _no and space = any (_spaces);
    delete from public.clew_item r using unnest(_row_spaces, _logs, _from, _to) s (space, log, first, last)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n >= s.first and r.n < s.last;
    update public.clew_item r set data = s.data from unnest(_item_spaces, _item_logs, _item_ns, _items) s (space, log, n, data)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n = s.n;
end $$;
