-- A request for every branch that is offered, and rejections that git does not hold yet.
--
-- `subject` is what a request is about: a connection has at most one open request of each. `drift_id` is there for drifts
-- alone; `target` is then the fingerprint that the lock has once it is merged, else a digest of what is offered. `rule`,
-- `rule_tip`, `rule_told`: the rule that takes it in, the commit that it judged, and whether the forge was told to merge that.
ALTER TABLE requests ADD COLUMN subject text NOT NULL DEFAULT 'drift'
    CHECK (subject IN ('drift', 'rollback', 'live_edit', 'lock', 'rejection'));
ALTER TABLE requests ALTER COLUMN drift_id DROP NOT NULL;
ALTER TABLE requests ADD COLUMN rule text;
ALTER TABLE requests ADD COLUMN rule_tip text;
ALTER TABLE requests ADD COLUMN rule_told boolean NOT NULL DEFAULT false;
DROP INDEX requests_open;
CREATE UNIQUE INDEX requests_open ON requests (tenant_id, connection_id, project, subject) WHERE state = 'open';
-- Rejections that are in force and whose commit the tracked branch did not take, as lines of `rejected.yaml`. One goes as
-- soon as git holds it, or its changes are approved.
ALTER TABLE connections ADD COLUMN rejections json NOT NULL DEFAULT '[]';
