INSERT INTO tenants (id) VALUES ('acme'), ('globex');
INSERT INTO users (tenant, username, password_hash, role)
SELECT id, name, '!', role FROM tenants, (VALUES ('ana', 'admin'), ('bob', 'viewer')) AS people(name, role);
INSERT INTO environments (tenant, name, position, policy, sequence)
SELECT id, 'production', 3, '{"strategy": {"kind": "canary"}, "deadlines": {"node": 120, "wave": 3600, "deployment": 86400}}', 2
FROM tenants;
INSERT INTO nodes (tenant, name, environment, address, labels)
SELECT id, 'node-' || n, 'production', 'https://127.0.0.1:77' || n, '{"zone": "a"}' FROM tenants, generate_series(10, 14) AS n;
INSERT INTO releases (tenant, module, version, digest, tree, kind, manifest, signature, signer, size, pushed_by)
SELECT id, 'greeter', version, repeat('1', 64), repeat('2', 64), 'files', '{"name": "greeter", "kind": "files", "files": {}}', 'x', 'CN=release', 1000, 'ana'
FROM tenants, (VALUES ('1.0.0'), ('2.0.0-rc.1')) AS versions(version);
INSERT INTO deployments (tenant, id, environment, module, version, description, requester, phase, sequence, started_at, finished_at)
SELECT id, 'd-' || n, 'production', 'greeter', '1.0.0', 'the ' || n || '. of ' || id, 'ana', 'completed', n, now(), now()
FROM tenants, generate_series(1, 2) AS n;
INSERT INTO deployment_nodes (tenant, deployment, node, wave, outcome)
SELECT id, 'd-1', 'node-10', 1, 'verified' FROM tenants;
INSERT INTO polls (tenant, id, deployment, request, poll, expires_at, result, closed_at)
SELECT id, 'approval-d-1-promotion', 'd-1', '{}', '{"votes": [], "refused": []}', now(), 'approved', now() FROM tenants;
INSERT INTO analyses (tenant, deployment, analysis, wave, look, verdict) SELECT id, 'd-1', 'analysis-d-1-1', 1, 1, '{"outcome": "pass"}' FROM tenants;
INSERT INTO events (tenant, deployment, key, kind, payload)
SELECT id, 'd-' || n, 'queued', 'deployment.queued', '{"message": "queued"}' FROM tenants, generate_series(1, 2) AS n;
INSERT INTO idempotency_keys (tenant, username, key, body_digest, deployment) SELECT id, 'ana', 'k', repeat('3', 64), 'd-1' FROM tenants;
