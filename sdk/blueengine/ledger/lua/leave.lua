-- leave: an instance is gone by its own will; sessions it still held are treated as lost with it.
-- include: base session release ending slots breaking bury
-- ARGV  1 instance  2 reason
-- answer: "ok"
bury(ARGV[1], now(), 'instance-left', ARGV[2])
return 'ok'
