-- What was agreed with an engine that other people use too: per property the value that git wanted when it was written last
-- and was read back then, and what waits because a person changed it there. NULL: nothing was agreed yet.

ALTER TABLE connections ADD COLUMN agreed json;

-- The streams that are left out of the engine's connection because a breaking drift waits: a list of names.
ALTER TABLE connections ADD COLUMN held json NOT NULL DEFAULT '[]';
