-- What repairs made of landed records when a source showed this catalog: digest of the repair -> streams and entities with
-- their counts. No values. NULL: no repair was tried.
ALTER TABLE observed_catalogs ADD COLUMN trials json;
-- When the source began to show this catalog for the last time; NULL: at first_seen_at.
ALTER TABLE observed_catalogs ADD COLUMN seen_at timestamptz;
