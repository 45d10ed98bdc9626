-- What was counted of sampled values when a source showed this catalog: stream -> fields asked for, and pairs with their
-- counts. No values. NULL: nothing was sampled.
ALTER TABLE observed_catalogs ADD COLUMN sampled json;
