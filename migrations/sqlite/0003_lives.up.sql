-- What the session enforcer needs: the sessions of a node read at once, and ends that were estimated.

CREATE INDEX sessions_open ON sessions (node) WHERE state = 'open';
CREATE INDEX sessions_denied_node ON sessions (node, decided_at) WHERE state = 'denied';

-- How much was counted at last_end, in microseconds, and whether that was an estimate. NULL: the duration.
ALTER TABLE sessions ADD COLUMN counted integer;
ALTER TABLE sessions ADD COLUMN guessed integer NOT NULL DEFAULT 0;
