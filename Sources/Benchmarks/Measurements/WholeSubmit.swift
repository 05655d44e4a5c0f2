/// What a node does for one package: itself, two items, a report, three attestations, in one transaction.
struct WholeSubmit: Measurement {
  let name = "whole-submit"
  let title = "a package, two items, a report and three attestations in a transaction"

  static let script: String = {
    let names = ["a", "b", "c", "d"]
    let service = Dataset.service.text
    return
      (names.map(Submit.random) + ["\\set package random(1, 1000000000000)", "\\set report random(1, 1000000000000)"])
      .joined(separator: "\n") + """

        BEGIN;
        INSERT INTO jam_work_packages (id, service_id, preimage_hashes)
          VALUES (md5(':package')::uuid, \(service), '{\(Dataset.hot),\(Dataset.shared):a,\(Dataset.shared):b,\(Dataset.shared):c}');
        INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
          VALUES (gen_random_uuid(), md5(':package')::uuid, 'refine', '', '{\(Dataset.hot)}');
        INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
          VALUES (gen_random_uuid(), md5(':package')::uuid, 'refine', '', '{\(Dataset.hot)}');
        INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact)
          VALUES (md5(':report')::uuid, md5(':package')::uuid, \(service), '', '{"preimages":["\(Dataset.shared):d"]}');
        INSERT INTO jam_attestations (report_id, worker_id, signature)
          VALUES (md5(':report')::uuid, 'a', ''), (md5(':report')::uuid, 'b', ''), (md5(':report')::uuid, 'c', '');
        COMMIT;

        """
  }()

  func run(_ bench: Bench) throws -> [Line] {
    try Submit.lines(
      bench,
      Comparison(
        measurement: name,
        what: "\(title), \(Submit.clients) clients",
        unit: .perSecond,
        reference: .none
      ),
      script: Self.script,
      clients: Submit.clients,
      variants: Submit.variants
    )
  }
}
