-- What the last failed try was made from: digest of the specs, keyed fingerprint of the settings, fingerprint of the lock.
-- A failed connection rests until its retry time, or until one of these is another.

ALTER TABLE connections ADD COLUMN tried text;
