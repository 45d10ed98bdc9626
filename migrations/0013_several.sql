-- What several daemons on one registry and one remote must know of each other.

-- Commits that aam made; nothing that a commit says of itself proves it. Each is noted before a branch moves to it, and goes after
-- a year.
CREATE TABLE own_commits (
    tenant_id text NOT NULL,
    commit_id text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, commit_id)
);
SELECT isolate_tenants('own_commits');

-- Where the tracked branch of the remote was when somebody last acted on it: who has it elsewhere looks at the remote first.
CREATE TABLE tracked_branches (
    tenant_id text NOT NULL,              -- `default`: the branch is that of all tenants
    branch    text NOT NULL,
    commit_id text NOT NULL,
    PRIMARY KEY (tenant_id, branch)
);
SELECT isolate_tenants('tracked_branches');

-- Until when the process that runs a job need not be heard of; `attempts` tells it from one that ran the job before.
ALTER TABLE aam_engine.jobs ADD COLUMN alive_until timestamptz NOT NULL DEFAULT now();
