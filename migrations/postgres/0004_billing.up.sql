-- What billing systems report: the inbox of their events, and what follows from these.

-- An account is what shares names at one provider, directly or by others. Where a name turns up that two have, the younger
-- one goes up in the older one. Whoever changes anything of an account holds its row's lock.
CREATE TABLE billing_accounts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);

CREATE TABLE billing_names (
    provider text   COLLATE "C" NOT NULL,
    name     text   COLLATE "C" NOT NULL,
    account  bigint NOT NULL REFERENCES billing_accounts (id),
    PRIMARY KEY (provider, name)
);
CREATE INDEX billing_names_account ON billing_names (account);

CREATE TABLE billing_records (
    provider text   COLLATE "C" NOT NULL,
    kind     text   COLLATE "C" NOT NULL,
    id       text   COLLATE "C" NOT NULL,
    account  bigint NOT NULL REFERENCES billing_accounts (id),
    doc      text   NOT NULL,
    PRIMARY KEY (provider, kind, id)
);
CREATE INDEX billing_records_account ON billing_records (account);

-- A row stays for good: some signatures have no time in them, and the name of an event is all that tells a second one. The
-- body is the request's, byte for byte; NULL once it was dropped for its age.
CREATE TABLE billing_events (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text        COLLATE "C" NOT NULL,
    event_id    text        COLLATE "C" NOT NULL,
    type        text        NOT NULL,
    provider_at timestamptz,
    received_at timestamptz NOT NULL,
    state       text        COLLATE "C" NOT NULL
        CHECK (state IN ('received', 'applied', 'stale', 'ignored', 'unlinked', 'failed', 'dead')),
    reason      text        NOT NULL,
    tries       integer     NOT NULL,
    next_at     timestamptz CHECK ((next_at IS NOT NULL) = (state IN ('received', 'failed'))),
    applied_at  timestamptz,
    user_id     text        COLLATE "C" NOT NULL, -- '' while it is not known
    subject     text        NOT NULL,
    -- Where it waits for a user.
    account     bigint REFERENCES billing_accounts (id) CHECK ((account IS NOT NULL) = (state = 'unlinked')),
    body        bytea,
    UNIQUE (provider, event_id)
);
-- By number and not by time: then the few that are due are read in their order, whatever the planner expects of the times.
CREATE INDEX billing_events_due ON billing_events (number) WHERE next_at IS NOT NULL;
CREATE INDEX billing_events_state ON billing_events (state, number);
CREATE INDEX billing_events_user ON billing_events (user_id, number) WHERE user_id <> '';
CREATE INDEX billing_events_account ON billing_events (account) WHERE account IS NOT NULL;
CREATE INDEX billing_events_body ON billing_events (received_at)
    WHERE body IS NOT NULL AND state IN ('applied', 'stale', 'ignored');

-- The billing record that it follows from, provider/kind/id; '' for none.
ALTER TABLE entitlements ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX entitlements_origin ON entitlements (origin) WHERE origin <> '';
ALTER TABLE holds ADD COLUMN origin text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX holds_origin ON holds (origin) WHERE origin <> '';
