extension RetentionModel {
  /// The tables of a JAM node: work packages, reports, attestations and the preimages that they refer to.
  public static let jam = RetentionModel(
    tables: [
      Table(
        name: "jam_services",
        columns: [
          Column("id", "uuid"),
          Column("owner", "text"),
          Column("code_hash", "text"),
          Column("version", "integer", default: "1"),
          Column("state_namespace", "text", default: "''"),
          Column("state_bytes", "bigint", default: "0"),
          Column("balance", "bigint", default: "0"),
          Column("max_state_bytes", "bigint", default: "0"),
          Column("max_compute_millis", "bigint", default: "0"),
          Column("max_package_items", "integer", default: "0"),
          Column("valid_until", "timestamptz", nullable: true),
          Column("status", "text", default: "'active'"),
          Column("created_at", "timestamptz", default: "now()"),
          Column("updated_at", "timestamptz", default: "now()"),
        ],
        primaryKey: ["id"]
      ),
      Table(
        name: "jam_service_versions",
        columns: [
          Column("service_id", "uuid"),
          Column("version", "integer"),
          Column("code_hash", "text"),
          Column("migrate_hook", "text", nullable: true),
          Column("created_at", "timestamptz", default: "now()"),
        ],
        primaryKey: ["service_id", "version"],
        foreignKeys: [ForeignKey(columns: ["service_id"], parent: "jam_services", parentColumns: ["id"])]
      ),
      Table(
        name: "jam_work_packages",
        columns: [
          Column("id", "uuid"),
          Column("service_id", "uuid"),
          Column("created_by", "text", default: "''"),
          Column("nonce", "text", default: "''"),
          Column("expiry", "timestamptz", nullable: true),
          Column("signature", "bytea", nullable: true),
          Column("preimage_hashes", "text[]", default: "'{}'"),
          Column("status", "text", default: "'pending'"),
          Column("created_at", "timestamptz", default: "now()"),
        ],
        primaryKey: ["id"],
        foreignKeys: [ForeignKey(columns: ["service_id"], parent: "jam_services", parentColumns: ["id"])]
      ),
      Table(
        name: "jam_work_items",
        columns: [
          Column("id", "uuid"),
          Column("package_id", "uuid"),
          Column("kind", "text"),
          Column("params_hash", "text"),
          Column("preimage_hashes", "text[]", default: "'{}'"),
          Column("max_fee", "bigint", default: "0"),
          Column("memo", "text", default: "''"),
        ],
        primaryKey: ["id"],
        foreignKeys: [ForeignKey(columns: ["package_id"], parent: "jam_work_packages", parentColumns: ["id"])]
      ),
      Table(
        name: "jam_work_reports",
        columns: [
          Column("id", "uuid"),
          Column("package_id", "uuid"),
          Column("service_id", "uuid"),
          Column("refine_output_hash", "text"),
          Column("refine_output_compact", "bytea", nullable: true),
          Column("traces", "bytea", nullable: true),
          Column("created_at", "timestamptz", default: "now()"),
        ],
        primaryKey: ["id"],
        foreignKeys: [
          ForeignKey(columns: ["package_id"], parent: "jam_work_packages", parentColumns: ["id"]),
          ForeignKey(columns: ["service_id"], parent: "jam_services", parentColumns: ["id"]),
        ]
      ),
      Table(
        name: "jam_attestations",
        columns: [
          Column("report_id", "uuid"),
          Column("worker_id", "text"),
          Column("signature", "bytea", nullable: true),
          Column("weight", "bigint", default: "0"),
          Column("created_at", "timestamptz", default: "now()"),
          Column("engine", "text", nullable: true),
          Column("engine_version", "text", nullable: true),
        ],
        primaryKey: ["report_id", "worker_id"],
        foreignKeys: [ForeignKey(columns: ["report_id"], parent: "jam_work_reports", parentColumns: ["id"])]
      ),
      Table(
        name: "jam_preimages",
        columns: [
          Column("hash", "text"),
          Column("size", "bigint"),
          Column("media_type", "text", default: "''"),
          Column("data", "bytea", nullable: true),
          Column("created_at", "timestamptz", default: "now()"),
          Column("uploader", "text", default: "''"),
          Column("storage_class", "text", default: "''"),
          Column("refcount", "bigint", default: "0"),
        ],
        primaryKey: ["hash"]
      ),
    ],
    blobs: BlobTable(table: "jam_preimages", plural: "preimages", singular: "preimage"),
    references: [
      Reference(table: "jam_services", kind: .scalar(column: "code_hash")),
      Reference(table: "jam_service_versions", kind: .scalar(column: "code_hash")),
      Reference(table: "jam_work_packages", kind: .array(column: "preimage_hashes")),
      Reference(table: "jam_work_items", kind: .array(column: "preimage_hashes")),
      Reference(table: "jam_work_reports", kind: .scan(column: "refine_output_compact")),
      Reference(table: "jam_work_reports", kind: .scan(column: "traces")),
    ],
    classes: [
      DataClass(
        name: "reports",
        table: "jam_work_reports",
        parts: [DataClass.Part(name: "attestations", table: "jam_attestations", timestamp: "created_at")]
      ),
      DataClass(
        name: "packages",
        table: "jam_work_packages",
        status: "status",
        parts: [DataClass.Part(name: "items", table: "jam_work_items")]
      ),
    ]
  )
}
