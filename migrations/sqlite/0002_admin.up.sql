-- What the admin API needs: versions where two could write at once, who changed what, keys of the API, payments.

ALTER TABLE users ADD COLUMN version integer NOT NULL DEFAULT 1;
CREATE INDEX users_status ON users (status, id);

-- 0 until a catalog was applied.
ALTER TABLE catalog ADD COLUMN version integer NOT NULL DEFAULT 0;
UPDATE catalog SET version = 1 WHERE applied_at IS NOT NULL;

-- The number is that of the write's last entry in the change feed, which gives it out in the order of the commits.
CREATE TABLE audit (
    number  integer PRIMARY KEY,
    at      integer NOT NULL,
    actor   text    NOT NULL,
    action  text    NOT NULL,
    subject text    NOT NULL,
    detail  text    NOT NULL
) STRICT;
CREATE INDEX audit_actor ON audit (actor, number);
CREATE INDEX audit_subject ON audit (subject, number);
CREATE INDEX audit_at ON audit (at);

-- The hash is all that is kept of a key. It never returns: a withdrawn key stays withdrawn.
CREATE TABLE api_keys (
    id           text    NOT NULL PRIMARY KEY,
    name         text    NOT NULL,
    role         text    NOT NULL CHECK (role IN ('read', 'billing', 'admin')),
    hash         blob    NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at   integer NOT NULL,
    created_by   text    NOT NULL,
    withdrawn_at integer
) STRICT;

-- No reference to users: word of a payment may come before word of its user. Amounts are in the currency's smallest unit.
CREATE TABLE payments (
    provider     text    NOT NULL,
    id           text    NOT NULL,
    user_id      text    NOT NULL, -- '' while it is not known
    subscription text    NOT NULL,
    price        text    NOT NULL,
    plan         text    NOT NULL,
    stream       text    NOT NULL,
    tag          text    NOT NULL,
    amount       integer NOT NULL,
    currency     text    NOT NULL,
    refunded     integer NOT NULL,
    status       text    NOT NULL,
    reason       text    NOT NULL,
    provider_at  integer,
    recorded_at  integer NOT NULL,
    PRIMARY KEY (provider, id)
) STRICT;
CREATE INDEX payments_user ON payments (user_id, provider, id) WHERE user_id <> '';
