-- Facts, catalog, change feed, sessions, leases. The tables are those of ../postgres; only the types differ:
-- times are integers, microseconds since 1970 (UTC). NULL is policy's zero moment.

CREATE TABLE users (
    id         text    NOT NULL PRIMARY KEY,
    status     text    NOT NULL CHECK (status IN ('active', 'suspended')),
    attributes text,
    created_at integer NOT NULL,
    updated_at integer NOT NULL
) STRICT;

-- The hash is all that is kept of a credential. A hash may return once its credential was revoked: an address that was
-- bound to one user can be bound to another.
CREATE TABLE credentials (
    id         text    NOT NULL PRIMARY KEY,
    hash       blob    NOT NULL CHECK (length(hash) = 32),
    kind       text    NOT NULL,
    user_id    text    NOT NULL REFERENCES users (id),
    streams    text    NOT NULL, -- a JSON list, '' for none
    addresses  text    NOT NULL, -- a JSON list, '' for none
    from_at    integer,
    until_at   integer,
    publish    integer NOT NULL,
    created_at integer NOT NULL,
    revoked_at integer
) STRICT;
CREATE UNIQUE INDEX credentials_hash_standing ON credentials (hash) WHERE revoked_at IS NULL;
CREATE INDEX credentials_hash ON credentials (hash);
CREATE INDEX credentials_user ON credentials (user_id, id);

CREATE TABLE entitlements (
    id         text    NOT NULL PRIMARY KEY,
    user_id    text    NOT NULL REFERENCES users (id),
    plan       text    NOT NULL,
    stream     text    NOT NULL,
    tag        text    NOT NULL,
    from_at    integer,
    until_at   integer,
    grace_from integer,
    source     text    NOT NULL,
    created_at integer NOT NULL,
    CHECK ((plan <> '') + (stream <> '') + (tag <> '') = 1)
) STRICT;
CREATE INDEX entitlements_user ON entitlements (user_id, id);

CREATE TABLE holds (
    id         text    NOT NULL PRIMARY KEY,
    user_id    text    NOT NULL REFERENCES users (id),
    kind       text    NOT NULL,
    ref        text    NOT NULL,
    from_at    integer,
    created_at integer NOT NULL
) STRICT;
CREATE INDEX holds_user ON holds (user_id, id);

-- What a user watched under plans in a month. No reference to users: a session may outlive its user.
CREATE TABLE usage (
    user_id text    NOT NULL,
    month   integer NOT NULL,
    seconds integer NOT NULL,
    PRIMARY KEY (user_id, month)
) STRICT;

-- One row; applied_at is NULL until a catalog was applied.
CREATE TABLE catalog (
    one        integer PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    jwt        text,
    applied_at integer
) STRICT;
INSERT INTO catalog DEFAULT VALUES;

CREATE TABLE plans (
    key      text    NOT NULL PRIMARY KEY,
    position integer NOT NULL,
    doc      text    NOT NULL
) STRICT;
CREATE TABLE streams (
    match    text    NOT NULL PRIMARY KEY,
    position integer NOT NULL,
    doc      text    NOT NULL
) STRICT;
CREATE TABLE prices (
    provider text    NOT NULL,
    price    text    NOT NULL,
    position integer NOT NULL,
    doc      text    NOT NULL,
    PRIMARY KEY (provider, price)
) STRICT;

-- The change feed. The counter's one row is updated in the transaction that changes the facts: its lock makes the
-- numbers follow the order of the commits. pruned is the last number that was dropped.
CREATE TABLE change_counter (
    one    integer PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    number integer NOT NULL DEFAULT 0,
    pruned integer NOT NULL DEFAULT 0
) STRICT;
INSERT INTO change_counter DEFAULT VALUES;

CREATE TABLE changes (
    number  integer PRIMARY KEY,
    at      integer NOT NULL,
    kind    text    NOT NULL,
    subject text    NOT NULL
) STRICT;
CREATE INDEX changes_at ON changes (at);

-- A session holds one place at a time. seq is the order of acquiring under one plan, where the moments are equal. asked_at
-- is when the session last asked for its place: an end from before then does not give it up.
CREATE TABLE leases (
    node        text    NOT NULL,
    session     text    NOT NULL,
    user_id     text    NOT NULL,
    plan        text    NOT NULL,
    acquired_at integer NOT NULL,
    seq         integer NOT NULL,
    asked_at    integer NOT NULL,
    until_at    integer NOT NULL,
    PRIMARY KEY (node, session)
) STRICT;
CREATE INDEX leases_plan ON leases (user_id, plan);
CREATE INDEX leases_until ON leases (until_at);

CREATE TABLE previews (
    viewer   text    NOT NULL,
    match    text    NOT NULL,
    began_at integer NOT NULL,
    PRIMARY KEY (viewer, match)
) STRICT;
CREATE INDEX previews_began ON previews (began_at);

-- last_end is the last end that was counted: it outlives the session's coming back, so that no end counts twice.
CREATE TABLE sessions (
    node       text    NOT NULL,
    id         text    NOT NULL,
    instance   text    NOT NULL,
    state      text    NOT NULL CHECK (state IN ('open', 'denied', 'ended')),
    stream     text    NOT NULL,
    address    text    NOT NULL,
    connector  text    NOT NULL,
    user_id    text    NOT NULL,
    credential blob,
    jwt        text    NOT NULL, -- the verified claims as JSON, '' for none
    reason     text    NOT NULL,
    plan       text    NOT NULL,
    tags       text    NOT NULL, -- a JSON list, '' for none
    opened_at  integer,
    decided_at integer,
    ended_at   integer,
    until_at   integer,
    duration   integer NOT NULL, -- microseconds
    bytes_up   integer NOT NULL,
    bytes_down integer NOT NULL,
    connectors text    NOT NULL, -- a JSON list, '' for none
    last_end   integer,
    PRIMARY KEY (node, id)
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, node, id) WHERE user_id <> '';
CREATE INDEX sessions_stream ON sessions (stream, node, id);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE state = 'ended';
CREATE INDEX sessions_denied ON sessions (decided_at) WHERE state = 'denied';
