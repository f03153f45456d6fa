-- Facts, catalog, change feed, sessions, leases. Times are timestamptz; NULL is policy's zero moment.
-- Ids are COLLATE "C": they sort by their bytes, as in SQLite and in Go, whatever the database's locale.
-- Documents are json and not jsonb: their text comes back as it was written, so that "the same catalog" is a comparison.

CREATE TABLE users (
    id         text COLLATE "C" PRIMARY KEY,
    status     text        NOT NULL CHECK (status IN ('active', 'suspended')),
    attributes json,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- The hash is all that is kept of a credential. A hash may return once its credential was revoked: an address that was
-- bound to one user can be bound to another.
CREATE TABLE credentials (
    id         text COLLATE "C" PRIMARY KEY,
    hash       bytea       NOT NULL CHECK (octet_length(hash) = 32),
    kind       text        NOT NULL,
    user_id    text        COLLATE "C" NOT NULL REFERENCES users (id),
    streams    text        NOT NULL, -- a JSON list, '' for none
    addresses  text        NOT NULL, -- a JSON list, '' for none
    from_at    timestamptz,
    until_at   timestamptz,
    publish    boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX credentials_hash_standing ON credentials (hash) WHERE revoked_at IS NULL;
CREATE INDEX credentials_hash ON credentials (hash);
CREATE INDEX credentials_user ON credentials (user_id, id);

CREATE TABLE entitlements (
    id         text COLLATE "C" PRIMARY KEY,
    user_id    text        COLLATE "C" NOT NULL REFERENCES users (id),
    plan       text        NOT NULL,
    stream     text        NOT NULL,
    tag        text        NOT NULL,
    from_at    timestamptz,
    until_at   timestamptz,
    grace_from timestamptz,
    source     text        NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK ((plan <> '')::int + (stream <> '')::int + (tag <> '')::int = 1)
);
-- The order in which facts take them: those without an end, then those that ended last.
CREATE INDEX entitlements_user ON entitlements (user_id, until_at DESC NULLS FIRST, id);

CREATE TABLE holds (
    id         text COLLATE "C" PRIMARY KEY,
    user_id    text        COLLATE "C" NOT NULL REFERENCES users (id),
    kind       text        NOT NULL,
    ref        text        NOT NULL,
    from_at    timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX holds_user ON holds (user_id, id);

-- What a user watched under plans in a month. No reference to users: a session may outlive its user.
CREATE TABLE usage (
    user_id text        COLLATE "C" NOT NULL,
    month   timestamptz NOT NULL,
    seconds bigint      NOT NULL,
    PRIMARY KEY (user_id, month)
);

-- One row; applied_at is NULL until a catalog was applied.
CREATE TABLE catalog (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    jwt        json,
    applied_at timestamptz
);
INSERT INTO catalog DEFAULT VALUES;

CREATE TABLE plans (
    key      text COLLATE "C" PRIMARY KEY,
    position integer NOT NULL,
    doc      json    NOT NULL
);
CREATE TABLE streams (
    match    text COLLATE "C" PRIMARY KEY,
    position integer NOT NULL,
    doc      json    NOT NULL
);
CREATE TABLE prices (
    provider text COLLATE "C" NOT NULL,
    price    text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    doc      json    NOT NULL,
    PRIMARY KEY (provider, price)
);

-- The change feed. The counter's one row is updated in the transaction that changes the facts: its lock makes the
-- numbers follow the order of the commits. pruned is the last number that was dropped.
CREATE TABLE change_counter (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    number bigint NOT NULL DEFAULT 0,
    pruned bigint NOT NULL DEFAULT 0
);
INSERT INTO change_counter DEFAULT VALUES;

CREATE TABLE changes (
    number  bigint PRIMARY KEY,
    at      timestamptz NOT NULL,
    kind    text        NOT NULL,
    subject text        NOT NULL
);
CREATE INDEX changes_at ON changes (at);

-- A session holds one place at a time. seq is the order of acquiring under one plan, where the moments are equal. asked_at
-- is when the session last asked for its place: an end from before then does not give it up.
CREATE TABLE leases (
    node        text COLLATE "C" NOT NULL,
    session     text COLLATE "C" NOT NULL,
    user_id     text COLLATE "C" NOT NULL,
    plan        text COLLATE "C" NOT NULL,
    acquired_at timestamptz NOT NULL,
    seq         bigint      NOT NULL,
    asked_at    timestamptz NOT NULL,
    until_at    timestamptz NOT NULL,
    PRIMARY KEY (node, session)
);
CREATE INDEX leases_plan ON leases (user_id, plan);
CREATE INDEX leases_until ON leases (until_at);

CREATE TABLE previews (
    viewer   text COLLATE "C" NOT NULL,
    match    text COLLATE "C" NOT NULL,
    began_at timestamptz NOT NULL,
    PRIMARY KEY (viewer, match)
);
CREATE INDEX previews_began ON previews (began_at);

-- last_end is the last end that was counted: it outlives the session's coming back, so that no end counts twice.
CREATE TABLE sessions (
    node       text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    instance   text   NOT NULL,
    state      text   NOT NULL CHECK (state IN ('open', 'denied', 'ended')),
    stream     text   COLLATE "C" NOT NULL,
    address    text   NOT NULL,
    connector  text   NOT NULL,
    user_id    text   COLLATE "C" NOT NULL,
    credential bytea,
    jwt        text   NOT NULL, -- the verified claims as JSON, '' for none
    reason     text   NOT NULL,
    plan       text   NOT NULL,
    tags       text   NOT NULL, -- a JSON list, '' for none
    opened_at  timestamptz,
    decided_at timestamptz,
    ended_at   timestamptz,
    until_at   timestamptz,
    duration   bigint NOT NULL, -- microseconds
    bytes_up   bigint NOT NULL,
    bytes_down bigint NOT NULL,
    connectors text   NOT NULL, -- a JSON list, '' for none
    last_end   timestamptz,
    PRIMARY KEY (node, id)
);
CREATE INDEX sessions_user ON sessions (user_id, node, id) WHERE user_id <> '';
CREATE INDEX sessions_stream ON sessions (stream, node, id);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE state = 'ended';
CREATE INDEX sessions_denied ON sessions (decided_at) WHERE state = 'denied';
