-- With which settings the engine last had a source or destination: their keyed fingerprint, written after they were sent.
-- Connections share these objects, so no connection's own row can tell.
CREATE TABLE secret_fingerprints (
    tenant_id   text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('source', 'destination')),
    engine_id   text NOT NULL,
    fingerprint text NOT NULL,
    PRIMARY KEY (tenant_id, kind, engine_id)
);
SELECT isolate_tenants('secret_fingerprints');
