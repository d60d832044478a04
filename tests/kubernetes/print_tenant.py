"""Print a tenant's manifest with numbers in it, for `make check-kubernetes`."""

from atelier.cli.tenant_manifest import write_manifest

if __name__ == "__main__":
    print(
        write_manifest(
            "acme",
            model="mini",
            gpus=2,
            cpus_per_gpu=4,
            memory_gb_per_gpu=24,
            target_seconds=120,
            worker_image=f"registry.example.com/atelier/worker@sha256:{1:064}",
            broker_image=f"valkey/valkey:9.1@sha256:{2:064}",
            system_namespace="atelier-system",
        )
    )
