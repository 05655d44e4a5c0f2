/// Uploads as real clients make them: with a refcount of their own, and again on conflict.
struct PutBlobs: Measurement {
  let name = "put"
  let title = "an upload of 4 kB, new or again"

  func run(_ bench: Bench) throws -> [Line] {
    let script = """
      \\set n random(\(Dataset.first), \(Dataset.first + 9 * Dataset.pool))
      INSERT INTO jam_preimages (hash, size, media_type, data, refcount)
        VALUES ('\(String(repeating: "f", count: 56)):n', 4000, 'text/plain', convert_to(repeat('x', 4000), 'UTF8'), 1)
        ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size,
          media_type = EXCLUDED.media_type, data = EXCLUDED.data;

      """
    return try Submit.lines(
      bench,
      Comparison(
        measurement: name,
        what: "\(title), \(Submit.clients) clients",
        unit: .perSecond,
        reference: .none
      ),
      script: script,
      clients: Submit.clients,
      variants: [.none, .immediate, .deferred]
    )
  }
}
