-- Fields that were taken in before it was known whose values they hold: stream -> what went and came, the old values as salted
-- digests until a sync has landed the new ones, and what was counted then. No values. At most one row for a connection.
CREATE TABLE arrivals (
    tenant_id     text NOT NULL,
    connection_id uuid NOT NULL,
    streams       json NOT NULL,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);
SELECT isolate_tenants('arrivals');
