-- All facts of one decision, in one statement and so at one moment. Asked by a credential's hash (?1) or by a user's id
-- (?2); the other is NULL. ?3 is the month whose usage counts, and ?4 the moment
-- from which on a session must have been opened to count while it runs. The columns are those of store.FactsRow.
WITH cred AS MATERIALIZED (
    SELECT id, kind, user_id, streams, addresses, revoked_at IS NOT NULL AS revoked, publish, from_at, until_at
    FROM credentials
    WHERE hash = ?1
    ORDER BY revoked_at IS NOT NULL, created_at DESC
    LIMIT 1
), who AS MATERIALIZED (
    SELECT coalesce(?2, (SELECT user_id FROM cred)) AS user_id
)
SELECT 1 AS part, id, kind AS a, user_id AS b, streams AS c, addresses AS d, revoked AS yes, publish AS also,
       from_at AS t1, until_at AS t2, NULL AS t3, 0 AS n
FROM cred
UNION ALL
SELECT 2, id, status, '', '', '', 0, 0, NULL, NULL, NULL, 0
FROM users
WHERE id = (SELECT user_id FROM who)
UNION ALL
SELECT 3, user_id, '', '', '', '', 0, 0, NULL, NULL, NULL, seconds
FROM usage
WHERE user_id = (SELECT user_id FROM who) AND month = ?3
UNION ALL
SELECT * FROM (
    SELECT 4, id, plan, stream, tag, source, 0, 0, from_at, until_at, grace_from, 0
    FROM entitlements
    WHERE user_id = (SELECT user_id FROM who)
    ORDER BY until_at DESC NULLS FIRST, id
    LIMIT 1000
)
UNION ALL
SELECT * FROM (
    SELECT 5, id, kind, ref, '', '', 0, 0, from_at, NULL, NULL, 0
    FROM holds
    WHERE user_id = (SELECT user_id FROM who)
    ORDER BY id
    LIMIT 1000
)
UNION ALL
SELECT 6, user_id, '', '', '', '', 0, 0, ?3 + sum(max(counts_from, ?3) - ?3) / count(*), NULL, NULL, count(*)
FROM sessions
WHERE user_id = (SELECT user_id FROM who) AND state = 'open' AND counts_from IS NOT NULL AND counts_from >= ?4 AND plan <> ''
GROUP BY user_id
UNION ALL
SELECT 7, '', kind, subject, '', '', 0, 0, at, NULL, NULL, number
FROM changes
WHERE number = (SELECT number FROM change_counter)
