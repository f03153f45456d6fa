-- Since when a session counts towards a quota, while it is open under a plan. NULL: no quota concerns its user. It stays when
-- the session ends, since word of its end may come late and change what was counted.
ALTER TABLE sessions ADD COLUMN counts_from integer;
CREATE INDEX sessions_counting ON sessions (user_id, counts_from) WHERE state = 'open' AND counts_from IS NOT NULL;
