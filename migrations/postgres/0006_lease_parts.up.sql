-- Where places under plans' limits are given out: by the users' part, here or in a Redis that services share. Each move
-- begins an epoch, and nothing that was decided in another one is taken. A part is the first byte of the SHA-256 of the user's
-- id ([store.LeasePart]).

CREATE TABLE lease_parts (
    part     smallint PRIMARY KEY,
    epoch    bigint      NOT NULL DEFAULT 0,
    redis    boolean     NOT NULL DEFAULT false,
    moved_at timestamptz -- when it last came here; NULL: it was never away
);
INSERT INTO lease_parts (part) SELECT generate_series(0, 255);

-- epoch and number are of the decision in Redis that a place comes from; 0 where it was given out here. One that was taken away
-- there ends at -infinity, until its session does.
ALTER TABLE leases ADD COLUMN part smallint NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN number bigint NOT NULL DEFAULT 0;
UPDATE leases SET part = get_byte(sha256(convert_to(user_id, 'UTF8')), 0);
ALTER TABLE leases ALTER COLUMN part DROP DEFAULT;
CREATE INDEX leases_part ON leases (part);
