-- Epochs are unique by now, and writes conditional on them: an outcome need not say under which it was kept.
alter table kept drop column epoch
