-- What billing systems report: the inbox of their events, and what follows from these.

-- A row stays for good: some signatures have no time in them, and the name of an event is all that tells a second one. The
-- body is the request's, byte for byte; NULL once it was dropped for its age. It stands last, so that a list does not read it.
CREATE TABLE billing_events (
    number      integer PRIMARY KEY AUTOINCREMENT,
    provider    text    NOT NULL,
    event_id    text    NOT NULL,
    type        text    NOT NULL,
    provider_at integer,
    received_at integer NOT NULL,
    state       text    NOT NULL
        CHECK (state IN ('received', 'applied', 'stale', 'ignored', 'unlinked', 'failed', 'dead')),
    reason      text    NOT NULL,
    tries       integer NOT NULL,
    next_at     integer CHECK ((next_at IS NOT NULL) = (state IN ('received', 'failed'))),
    applied_at  integer,
    user_id     text    NOT NULL, -- '' while it is not known
    subject     text    NOT NULL,
    -- Where it waits for a user.
    account     integer REFERENCES billing_accounts (id) CHECK ((account IS NOT NULL) = (state = 'unlinked')),
    body        blob,
    UNIQUE (provider, event_id)
) STRICT;
-- Numbers are in every index anyway.
CREATE INDEX billing_events_due ON billing_events (number) WHERE next_at IS NOT NULL;
CREATE INDEX billing_events_state ON billing_events (state);
CREATE INDEX billing_events_user ON billing_events (user_id) WHERE user_id <> '';
CREATE INDEX billing_events_account ON billing_events (account) WHERE account IS NOT NULL;
CREATE INDEX billing_events_body ON billing_events (received_at)
    WHERE body IS NOT NULL AND state IN ('applied', 'stale', 'ignored');

-- An account is what shares names at one provider, directly or by others. Where a name turns up that two have, the younger
-- one goes up in the older one.
CREATE TABLE billing_accounts (id integer PRIMARY KEY AUTOINCREMENT) STRICT;

CREATE TABLE billing_names (
    provider text    NOT NULL,
    name     text    NOT NULL,
    account  integer NOT NULL REFERENCES billing_accounts (id),
    PRIMARY KEY (provider, name)
) STRICT;
CREATE INDEX billing_names_account ON billing_names (account);

CREATE TABLE billing_records (
    provider text    NOT NULL,
    kind     text    NOT NULL,
    id       text    NOT NULL,
    account  integer NOT NULL REFERENCES billing_accounts (id),
    doc      text    NOT NULL,
    PRIMARY KEY (provider, kind, id)
) STRICT;
CREATE INDEX billing_records_account ON billing_records (account);

-- The billing record that it follows from, provider/kind/id; '' for none.
ALTER TABLE entitlements ADD COLUMN origin text NOT NULL DEFAULT '';
CREATE INDEX entitlements_origin ON entitlements (origin) WHERE origin <> '';
ALTER TABLE holds ADD COLUMN origin text NOT NULL DEFAULT '';
CREATE INDEX holds_origin ON holds (origin) WHERE origin <> '';
