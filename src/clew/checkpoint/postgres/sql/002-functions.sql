-- What a run asks of the tables, each in one call: a round trip, and plans that are kept wherever the call comes from.
-- A call plans by index, always: a table that was empty when it was first seen is not read whole ever after.

insert into public.clew_migration (no) values (2);

-- Checkpoints of a namespace from seq `_first` to `_last`, newest first, each with the row its manifest adds to, its parent,
-- the first row that grew from it where that is asked for, and the outcomes beside it. Without bounds: the head. Where no
-- checkpoint is found, one line that has what is known of the thread.
create function public.clew_find(
    _thread bytea, _ns bytea, _first bigint, _last bigint, _limit integer, _followed boolean
) returns table (
    epoch bigint, last integer, spaces integer, head integer, number integer, logs bytea,
    lease_run bytea, lease_owner bytea, lease_base bytea, lease_seconds double precision,
    seq integer, parent integer, base integer, data bytea,
    base_parent integer, base_base integer, base_data bytea,
    parent_seq integer, parent_id bytea,
    next_seq integer, next_parent integer, next_base integer, next_data bytea,
    tasks bytea[], outcomes bytea[]
) language plpgsql stable set enable_seqscan = off as $$
#variable_conflict use_column
begin
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
    left join public.clew_head h on h.thread = t.no and h.ns = _ns
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

-- The items of ranges, in that order.
create function public.clew_items(_thread bytea, _spaces integer[], _logs integer[], _from bigint[], _to bigint[])
returns setof bytea language plpgsql stable set enable_seqscan = off as $$
declare
    _no integer;
begin
    select no into _no from public.clew_thread where name = _thread;
    for i in 1 .. cardinality(_logs) loop
        return query
        select data from public.clew_item
        where thread = _no and space = _spaces[i] and log = _logs[i] and n >= _from[i] and n < _to[i] order by n;
    end loop;
end $$;

-- Writes a batch whole or not at all. Returns whether the run is asked to stop. A thread or a head that is not what the batch
-- expects is a unique_violation, as is a number or a name that another run has taken.
create function public.clew_commit(
    _thread bytea, _ns bytea, _space integer, _head bigint, _epoch bigint, _claim bigint, _seq bigint, _logs bytea,
    _lease_run bytea, _lease_owner bytea, _lease_base bytea, _lease_seconds double precision, _release boolean,
    _seqs bigint[], _parents bigint[], _bases bigint[], _rows bytea[],
    _item_spaces bigint[], _item_logs bigint[], _item_ns bigint[], _items bytea[],
    _kept_seqs bigint[], _tasks bytea[], _outcomes bytea[]
) returns boolean language plpgsql set enable_seqscan = off as $$
declare
    _until timestamptz := clock_timestamp() + make_interval(secs => _lease_seconds);
    _spaces integer := case when _logs is null then 0 else _space + 1 end;
    _no integer;
    _stop boolean;
begin
    if _epoch = 0 then
        insert into public.clew_thread (name, epoch, seq, spaces, lease_run, lease_owner, lease_base, lease_until)
        values (_thread, _claim, coalesce(_seq, 0), _spaces, _lease_run, _lease_owner, _lease_base, _until)
        returning no, stop into _no, _stop;
    elsif _claim > 0 or _release or _lease_run is not null then
        update public.clew_thread set
            epoch = greatest(epoch, _claim), seq = greatest(seq, _seq), spaces = greatest(spaces, _spaces),
            lease_run = _lease_run, lease_owner = _lease_owner, lease_base = _lease_base, lease_until = _until,
            stop = stop and _claim = 0
        where name = _thread and epoch = _epoch returning no, stop into _no, _stop;
    elsif _logs is not null then
        update public.clew_thread set seq = greatest(seq, _seq), spaces = greatest(spaces, _spaces)
        where name = _thread and epoch = _epoch returning no, stop into _no, _stop;
    else
        select no, stop from public.clew_thread where name = _thread and epoch = _epoch for no key update into _no, _stop;
    end if;
    if _no is null then
        raise unique_violation using message = 'another run has the thread';
    end if;
    if _claim > 0 and _lease_run is not null then
        delete from public.clew_waiting where thread = _no and run = _lease_run;
    end if;
    if _logs is not null then
        update public.clew_head set seq = coalesce(_seq, seq), logs = _logs
        where thread = _no and ns = _ns and space = _space and seq is not distinct from _head;
        if not found then
            if _head is not null then
                raise unique_violation using message = 'another run has moved the head';
            end if;
            insert into public.clew_head (thread, ns, space, seq, logs) values (_no, _ns, _space, _seq, _logs);
        end if;
    end if;
    if _rows is not null then
        insert into public.clew_checkpoint (thread, space, seq, parent, base, data)
        select _no, _space, * from unnest(_seqs, _parents, _bases, _rows);
    end if;
    if _items is not null then
        insert into public.clew_item (thread, space, log, n, data)
        select _no, * from unnest(_item_spaces, _item_logs, _item_ns, _items);
    end if;
    if _tasks is not null then
        insert into public.clew_kept (thread, seq, task, body) select _no, * from unnest(_kept_seqs, _tasks, _outcomes)
        on conflict (thread, seq, task) do update set body = excluded.body;
    end if;
    return _stop;
end $$;

-- Stands in a thread's queue. Returns whether nobody stands before this run.
create function public.clew_wait(_thread bytea, _run bytea, _seconds double precision, _stop boolean) returns boolean
language plpgsql set enable_seqscan = off as $$
declare
    _until timestamptz := clock_timestamp() + make_interval(secs => _seconds);
    _no integer;
begin
    select no from public.clew_thread where name = _thread for no key update into _no;
    if _no is null then
        return true;
    end if;
    if _stop then
        update public.clew_thread set stop = true where name = _thread and not stop;
    end if;
    delete from public.clew_waiting where thread = _no and until < clock_timestamp() and run <> _run;
    insert into public.clew_waiting (thread, run, until) values (_no, _run, _until)
    on conflict (thread, run) do update set until = excluded.until;
    return _run = (select run from public.clew_waiting where thread = _no order by n limit 1);
end $$;

-- Deletes a thread. By turns, so that what a commit has written that held it up goes as well.
create function public.clew_drop(_thread bytea) returns void language plpgsql set enable_seqscan = off as $$
declare
    _no integer;
begin
    delete from public.clew_thread where name = _thread returning no into _no;
    delete from public.clew_waiting where thread = _no;
    delete from public.clew_head where thread = _no;
    delete from public.clew_checkpoint where thread = _no;
    delete from public.clew_item where thread = _no;
    delete from public.clew_kept where thread = _no;
end $$;

-- Deletes rows, with the outcomes beside them, puts others in place of those that were there, deletes namespaces and ranges of
-- items, and puts items in place of those that were there; a unique_violation where the epoch is another.
create function public.clew_prune(
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
    delete from public.clew_head where thread = _no and space = any (_spaces);
    delete from public.clew_item r using unnest(_row_spaces, _logs, _from, _to) s (space, log, first, last)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n >= s.first and r.n < s.last;
    update public.clew_item r set data = s.data from unnest(_item_spaces, _item_logs, _item_ns, _items) s (space, log, n, data)
    where r.thread = _no and r.space = s.space and r.log = s.log and r.n = s.n;
end $$;
