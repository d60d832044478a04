-- Whoever sets money aside or frees it lets credit expire whose time is over, without waiting for the housekeeper.
GRANT UPDATE (expired_nanos) ON credit_lots TO atelier_gateway, atelier_recorder;
