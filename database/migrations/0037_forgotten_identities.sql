-- Whom a deleted tenant's identity provider vouched for goes with its keys.
CREATE POLICY housekeeper_all ON identity_bindings TO atelier_housekeeper USING (true);
GRANT SELECT (tenant_id, binding_id), DELETE ON identity_bindings TO atelier_housekeeper;
