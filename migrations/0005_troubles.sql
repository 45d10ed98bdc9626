-- Steps that fail while the rest of their connection runs: {step: {reason, since, failures, retry_at}}. An entry goes when its
-- step gets through; json, not jsonb: reasons may hold \u0000.

ALTER TABLE connections ADD COLUMN troubles json NOT NULL DEFAULT '{}';
