-- limit_tenant: say how many sessions of a tenant may run, and how many may wait.
-- include: base session
-- ARGV  1 tenant  2 running at most  3 pending at most (0: no limit)
-- answer: "ok"
redis.call('SADD', K.tenants(), ARGV[1])
redis.call('HSET', K.tenant(ARGV[1]), 'max_running', ARGV[2], 'max_pending', ARGV[3])
recall_all(ARGV[1])
return 'ok'
