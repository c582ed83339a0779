-- Many checkpoints in one row (ADR 23): what a row costs beside what it says is more than that. The newest ones stand in the row of
-- their thread, the last one first, and so does the head of the graph itself, whose namespace has no name: a commit changes one
-- row. `spaces` is the first number that no namespace has.
alter table thread add column spaces integer not null default 0;
alter table thread add column space integer;
alter table thread add column head integer;
alter table thread add column logs blob;
alter table thread add column checkpoints integer not null default 0;
alter table thread add column tail blob not null default x'';

-- Those before them, as `clew.checkpoint.segments` packs them, in the order in which they were closed. `first` is the lowest seq in
-- it, `last` the highest that the thread had by then.
create table segment (
    thread integer not null,
    first integer not null,
    last integer not null,
    data blob not null
);
create index segment_last on segment (thread, last);

insert into segment (thread, first, last, data)
select thread, min(seq), max(seq), clew_segment(ns, seq, id, parent, base, body) from checkpoint
group by thread, seq / 32 order by thread, seq / 32;
update thread set
    seq = max(seq, (select coalesce(max(seq), 0) from checkpoint where thread = no)),
    spaces = (select coalesce(max(h.no) + 1, 0) from head h where h.thread = thread.no),
    checkpoints = (select count(*) from checkpoint where thread = no);
update thread as t set space = h.no, head = h.seq, logs = h.logs from head h where h.thread = t.no and h.ns = '';
delete from head where ns = '';
drop table checkpoint
