-- What repairs made of landed records when a source showed this catalog: digest of the repair -> streams and entities with
-- their counts. No values. NULL: no repair was tried.
ALTER TABLE observed_catalogs ADD COLUMN trials json;
