"""The presets as they are shown and run: name, title, what is asked, query, limits.

Every query ends with an order over all that tells its rows apart, so that an answer never depends on chance.
"""

from __future__ import annotations

from typing import Final

TEXTS: Final[tuple[tuple[str, str, str, str, str], ...]] = (
    (
        "common-counterparts",
        "Common counterparts",
        "Which other parties are in touch with two or more of the targets?",
        """\
SELECT counterpart, counterpart_kind, COUNT(DISTINCT target) AS targets, COUNT(*) AS communications,
       MIN(time) AS first, MAX(time) AS last
FROM events
WHERE counterpart IS NOT NULL AND counterpart_kind <> 'restricted'
GROUP BY counterpart, counterpart_kind
HAVING COUNT(DISTINCT target) >= 2
ORDER BY targets DESC, communications DESC, counterpart, counterpart_kind""",
        "A person who writes from another number or address is another counterpart. Large businesses are common to "
        "nearly everybody.",
    ),
    (
        "common-accounts",
        "Common accounts",
        "Which accounts of the platform carried traffic of two or more of the targets?",
        """\
SELECT account, COUNT(DISTINCT target) AS targets, COUNT(*) AS communications,
       MIN(time) AS first, MAX(time) AS last
FROM events
WHERE account IS NOT NULL
GROUP BY account
HAVING COUNT(DISTINCT target) >= 2
ORDER BY targets DESC, communications DESC, account""",
        "Says nothing of who stands behind an account; a reseller's account carries many customers.",
    ),
    (
        "common-senders",
        "Common sender names",
        "Which business senders wrote to two or more of the targets, and over how many accounts?",
        """\
SELECT sender, COUNT(DISTINCT target) AS targets, COUNT(DISTINCT account) AS accounts,
       COUNT(*) AS communications, MIN(time) AS first, MAX(time) AS last
FROM events
WHERE sender IS NOT NULL
GROUP BY sender
HAVING COUNT(DISTINCT target) >= 2
ORDER BY targets DESC, accounts DESC, communications DESC, sender""",
        "A sender name is not proof of a sender: it can be forged, and networks replace it on the way.",
    ),
    (
        "common-routes",
        "Common routes",
        "Which routes carried traffic of two or more of the targets, and how much of it arrived?",
        """\
SELECT route, COUNT(DISTINCT target) AS targets, COUNT(*) AS communications,
       SUM(CASE WHEN status_group = 'DELIVERED' THEN 1 ELSE 0 END) AS delivered
FROM events
WHERE route IS NOT NULL
GROUP BY route
HAVING COUNT(DISTINCT target) >= 2
ORDER BY targets DESC, communications DESC, route""",
        "Only the route the platform chose; what carriers behind it did is not in the records.",
    ),
    (
        "between-targets",
        "Between the targets",
        "Which targets are in touch with each other directly?",
        """\
SELECT target, counterpart AS other, role, COUNT(*) AS communications, MIN(time) AS first, MAX(time) AS last
FROM events
WHERE counterpart_kind = 'target'
GROUP BY target, counterpart, role
ORDER BY target, other, role""",
        "Only what went over this platform. Each contact is listed from both ends.",
    ),
    (
        "code-flood",
        "Flood of messages from many accounts",
        "Did a target get messages of five or more accounts within one hour of the clock (one-time codes asked for "
        "in somebody's name)?",
        """\
SELECT target, DATE_TRUNC('hour', time) AS hour, COUNT(DISTINCT account) AS accounts, COUNT(*) AS messages
FROM events
WHERE role = 'recipient' AND channel <> 'voice' AND account IS NOT NULL
GROUP BY target, DATE_TRUNC('hour', time)
HAVING COUNT(DISTINCT account) >= 5
ORDER BY accounts DESC, messages DESC, target, hour""",
        "Texts are not kept, so a code cannot be told from another message. A flood over the turn of an hour is "
        "counted in two halves.",
    ),
    (
        "repeats",
        "The same sender again and again",
        "Did one sender write ten or more times to a target within one hour of the clock?",
        """\
SELECT target, sender, account, DATE_TRUNC('hour', time) AS hour, COUNT(*) AS messages
FROM events
WHERE role = 'recipient' AND sender IS NOT NULL
GROUP BY target, sender, account, DATE_TRUNC('hour', time)
HAVING COUNT(*) >= 10
ORDER BY messages DESC, target, sender, account, hour""",
        "A fault in a customer's program looks the same as intent.",
    ),
    (
        "fan-out",
        "One to many",
        "Did a target reach twenty or more different parties on one day (spam, harvesting, a SIM farm's number)?",
        """\
SELECT target, DATE_TRUNC('day', time) AS day, COUNT(DISTINCT counterpart) AS counterparts,
       COUNT(*) AS communications
FROM events
WHERE role IN ('sender', 'caller') AND counterpart IS NOT NULL
GROUP BY target, DATE_TRUNC('day', time)
HAVING COUNT(DISTINCT counterpart) >= 20
ORDER BY counterparts DESC, communications DESC, target, day""",
        "Restricted parties count as one together. A call centre does the same.",
    ),
    (
        "short-calls",
        "Short calls to many",
        "Did a target place calls of six seconds or less to five or more parties on one day (call-back bait, "
        "scanning)?",
        """\
SELECT target, DATE_TRUNC('day', time) AS day, COUNT(DISTINCT counterpart) AS counterparts, COUNT(*) AS calls
FROM events
WHERE channel = 'voice' AND role IN ('sender', 'caller') AND duration_ms <= 6000 AND counterpart IS NOT NULL
GROUP BY target, DATE_TRUNC('day', time)
HAVING COUNT(DISTINCT counterpart) >= 5
ORDER BY counterparts DESC, calls DESC, target, day""",
        "Calls without a duration in their record are left out. Calls nobody answered count as short where the record "
        "says a duration of nil.",
    ),
    (
        "never-arrives",
        "Hardly anything arrives",
        "Which targets have ten or more messages of which fewer than one in five was delivered?",
        """\
SELECT target, COUNT(*) AS communications,
       SUM(CASE WHEN status_group = 'DELIVERED' THEN 1 ELSE 0 END) AS delivered
FROM events
WHERE role = 'recipient' AND status_group IS NOT NULL
GROUP BY target
HAVING COUNT(*) >= 10 AND SUM(CASE WHEN status_group = 'DELIVERED' THEN 1 ELSE 0 END) * 5 < COUNT(*)
ORDER BY communications DESC, target""",
        "Some networks never report a delivery; reports still to come count as not delivered.",
    ),
    (
        "recycled",
        "Dead for weeks, then alive",
        "Which targets got nothing delivered for 21 days or more, and then a delivery (a number given to somebody "
        "else)?",
        """\
WITH outcomes AS (
  SELECT target, time FROM events WHERE role = 'recipient' AND status_group IN ('UNDELIVERABLE', 'REJECTED')
), arrivals AS (
  SELECT target, time FROM events WHERE role = 'recipient' AND status_group = 'DELIVERED'
), gaps AS (
  SELECT target, time, LAG(time) OVER (PARTITION BY target ORDER BY time) AS before FROM arrivals
)
SELECT gaps.target AS target, MIN(outcomes.time) AS dead_since, gaps.time AS alive_again, COUNT(*) AS failures
FROM gaps JOIN outcomes ON gaps.target = outcomes.target
WHERE outcomes.time < gaps.time AND (gaps.before IS NULL OR outcomes.time > gaps.before)
GROUP BY gaps.target, gaps.time
HAVING MIN(outcomes.time) <= gaps.time - INTERVAL '21 days' AND COUNT(*) >= 3
ORDER BY target, alive_again""",
        "A telephone that was off or abroad for weeks looks the same. Needs three failures or more in between.",
    ),
    (
        "sender-switching",
        "Many sender names of one account",
        "Did an account write to a target under three or more sender names on one day?",
        """\
SELECT target, account, DATE_TRUNC('day', time) AS day, COUNT(DISTINCT sender) AS senders, COUNT(*) AS messages
FROM events
WHERE role = 'recipient' AND account IS NOT NULL AND sender IS NOT NULL
GROUP BY target, account, DATE_TRUNC('day', time)
HAVING COUNT(DISTINCT sender) >= 3
ORDER BY senders DESC, messages DESC, target, account, day""",
        "Resellers do this all day. Sender names a network replaced afterwards are not seen.",
    ),
    (
        "route-switching",
        "Many routes for one account",
        "Did one account's traffic to a target take three or more routes on one day?",
        """\
SELECT target, account, DATE_TRUNC('day', time) AS day, COUNT(DISTINCT route) AS routes, COUNT(*) AS messages
FROM events
WHERE account IS NOT NULL AND route IS NOT NULL
GROUP BY target, account, DATE_TRUNC('day', time)
HAVING COUNT(DISTINCT route) >= 3
ORDER BY routes DESC, messages DESC, target, account, day""",
        "Balancing of load and a failed route's replacement look the same.",
    ),
    (
        "at-night",
        "Mostly at night",
        "Which targets with ten or more communications have more than half of them from 22 to 5 o'clock, UTC?",
        """\
SELECT target, COUNT(*) AS communications,
       SUM(CASE WHEN EXTRACT(HOUR FROM time) >= 22 OR EXTRACT(HOUR FROM time) < 5 THEN 1 ELSE 0 END) AS at_night
FROM events
GROUP BY target
HAVING COUNT(*) >= 10 AND
       SUM(CASE WHEN EXTRACT(HOUR FROM time) >= 22 OR EXTRACT(HOUR FROM time) < 5 THEN 1 ELSE 0 END) * 2 > COUNT(*)
ORDER BY communications DESC, target""",
        "Night of UTC, not of where the target lives.",
    ),
    (
        "silence",
        "Silence of 30 days or more",
        "Which targets fell silent for 30 days or more, and when did they come back?",
        """\
WITH steps AS (
  SELECT target, time, LAG(time) OVER (PARTITION BY target ORDER BY time) AS before FROM events
)
SELECT target, before AS silent_from, time AS back_at
FROM steps
WHERE before IS NOT NULL AND time >= before + INTERVAL '30 days'
ORDER BY target, back_at
""".rstrip(),
        "Only silence between two communications inside the period asked for; not before the first or after the last.",
    ),
    (
        "same-minute",
        "Several targets in the same minute",
        "In which minutes did one account reach three or more of the targets?",
        """\
SELECT account, DATE_TRUNC('minute', time) AS minute, COUNT(DISTINCT target) AS targets,
       COUNT(*) AS communications
FROM events
WHERE account IS NOT NULL
GROUP BY account, DATE_TRUNC('minute', time)
HAVING COUNT(DISTINCT target) >= 3
ORDER BY targets DESC, communications DESC, account, minute""",
        "A mailing to everybody looks the same. Minutes of the clock: what lies on both sides of a turn is not joined.",
    ),
    (
        "charges",
        "What it costs",
        "What do the targets' communications cost, by account and currency?",
        """\
SELECT target, account, currency, COUNT(*) AS communications, SUM(charge) AS charge
FROM events
WHERE charge IS NOT NULL AND currency IS NOT NULL
GROUP BY target, account, currency
ORDER BY target, account, currency""",
        "The charge of each communication's last report; the bill, with its corrections, is under Billing.",
    ),
)
