"""The peers, in the order of the table. To add one: a module with `run(request)`, and a line here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """One row of the table: `module` runs in the product's environment or in that of the peers.

    `per_round` is more than one where a run is so short that the machine's noise would decide.
    """

    name: str
    title: str
    module: str
    environment: str = "product"
    options: dict[str, str] = field(default_factory=dict)
    per_round: int = 1


BARE = "bare"
FAUST_EVENTS = "faust-events"

PEERS = [
    Peer(BARE, "bare `confluent_kafka.consume`, no work", "bench.peers.bare", per_round=3),
    Peer(FAUST_EVENTS, "Faust agent, single events, no work", "bench.peers.faust_events"),
    Peer("faust-batches", "Faust agent, batch channel, no work", "bench.peers.faust_batches"),
    Peer("faust-usual", "the job record by record in Faust", "bench.peers.faust_usual"),
    Peer("quix-usual", "the job record by record in Quix Streams", "bench.peers.quix_usual", "peers"),
    Peer("lethe-kernel", "**Lethe**, kernel alone, 2 threads", "bench.peers.lethe_kernel"),
    Peer("lethe", "**Lethe**, Kafka to committed tables, 1 worker, 10 % in scope", "bench.peers.lethe"),
    Peer("lethe-2", "**Lethe**, 2 workers", "bench.peers.lethe", options={"workers": "2"}),
    Peer("lethe-all", "**Lethe**, 1 worker, 100 % in scope", "bench.peers.lethe", options={"scope": "all"}),
    Peer("lethe-s3", "**Lethe**, 1 worker, S3 API (moto)", "bench.peers.lethe", options={"store": "s3"}),
    Peer("bytewax-parse", "Bytewax, JSON parse, no work", "bench.peers.bytewax_parse", "peers"),
    Peer("pathway-parse", "Pathway, 2 threads, JSON parse, no work", "bench.peers.pathway_parse", "peers"),
]
