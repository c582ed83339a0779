create table item (
    no integer primary key,
    ns text not null,
    key text not null,
    created integer not null,
    updated integer not null,
    ttl integer,
    expires integer,
    value blob not null
);
create unique index item_place on item (ns, key);
create index item_order on item (ns, updated desc);
create index item_updated on item (updated);
create index item_expires on item (expires) where expires is not null;
create table vector (
    item integer not null,
    data blob not null
);
create index vector_item on vector (item)
