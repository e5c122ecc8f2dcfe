-- Distributes the tables over the workers of a Citus cluster.
--
-- Run it once, connected to the coordinator's database as the owner of the tables, after
-- `run.py migrate` and before the first server. The servers then have the coordinator's URL, alone.
-- Rows of one key are together: all tables but `tokens` are in one group, whatever their key means,
-- so that a change and its outbox entry are one transaction on one worker. `placement`, `migrations`
-- and the sequences stay on the coordinator.

SELECT create_distributed_table('accounts', 'uid');
SELECT create_distributed_table('sessions', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('books', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('contacts', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('reservations', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('user_threads', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('hidden', 'uid', colocate_with => 'accounts');
SELECT create_distributed_table('threads', 'thread', colocate_with => 'accounts');
SELECT create_distributed_table('members', 'thread', colocate_with => 'accounts');
SELECT create_distributed_table('outbox', 'source', colocate_with => 'accounts');
SELECT create_distributed_table('handles', 'login', colocate_with => 'accounts');
SELECT create_distributed_table('word_sets', 'initial', colocate_with => 'accounts');
SELECT create_distributed_table('words', 'initial', colocate_with => 'accounts');
SELECT create_distributed_table('tokens', 'token_hash', colocate_with => 'none');
