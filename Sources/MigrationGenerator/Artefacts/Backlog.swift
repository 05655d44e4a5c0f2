import SafeSQL

extension RetentionSchema {
  /// What waits for a fold, for a blob, or for the object store.
  var backlog: QualifiedName { names.qualified("backlog") }

  /// A table of up to so many blocks is read whole; of a larger one, so many blocks.
  private static let sampledBlocks = 64

  /// Reads queues that may be long in a time that has a bound. A function, because the planner takes the blocks for large
  /// parts of the tables and would compile the query for seconds. Everybody may call it: whoever may read the views of
  /// monitoring needs that right too, and figures are no secret.
  var backlogFunction: SQL {
    let queues: [SQL] = [
      sample(of: ledger, name: "reference ledger", amount: "count(*)", oldest: "min(t.recorded_at)"),
      sample(of: unresolved, name: "unresolved references", amount: "sum(t.refcount)", oldest: "NULL::timestamptz"),
      sample(
        of: deletions,
        name: "object deletions",
        amount: "sum(t.size)",
        oldest: "NULL::timestamptz",
        // The first of those that are left is the first in the order of their numbers.
        wholeOldest: "(SELECT d.queued_at FROM \(deletions) AS d ORDER BY d.id LIMIT 1)"
      ),
    ]
    return """
      CREATE OR REPLACE FUNCTION \(backlog)()
      RETURNS TABLE (queue text, entries bigint, amount bigint, oldest timestamptz)
      LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off ROWS \(queues.count)
      AS \(SQL.joined(queues, separator: "\nUNION ALL\n").dollarQuoted());
      COMMENT ON FUNCTION \(backlog)() IS 'What waits for a fold, for a blob or for the object store: entries, their amount (references or bytes), and since when. A table of up to \(Self.sampledBlocks) blocks is read whole, so the figures are exact; of a larger one \(Self.sampledBlocks) blocks are read, evenly spread, and the figures are estimates: a look never takes long.';
      """
  }

  /// - Parameters:
  ///   - amount, oldest: aggregates over rows `t` of one block.
  ///   - wholeOldest: in place of `oldest`, where an index tells it.
  private func sample(
    of table: QualifiedName,
    name: String,
    amount: SQL,
    oldest: SQL,
    wholeOldest: SQL? = nil
  ) -> SQL {
    """
    SELECT \(literal: name)::text AS queue,
      coalesce(round(sum(p.entries) * max(b.blocks) / count(*)), 0)::bigint AS entries,
      least(coalesce(round(sum(p.amount) * max(b.blocks) / count(*)), 0), 9223372036854775807)::bigint AS amount,
      \(wholeOldest ?? "min(p.oldest)") AS oldest
    FROM (
      SELECT pg_relation_size(\(literal(table))::regclass) / current_setting('block_size')::bigint AS blocks
    ) AS b
    CROSS JOIN LATERAL generate_series(0, b.blocks - 1, greatest(1, (b.blocks + \(Self.sampledBlocks - 1)) / \(Self.sampledBlocks))) AS g (block)
    CROSS JOIN LATERAL (
      SELECT count(*) AS entries, \(amount) AS amount, \(oldest) AS oldest
      FROM \(table) AS t
      WHERE t.ctid >= format('(%s,0)', g.block)::tid
        AND t.ctid < format('(%s,0)', g.block + 1)::tid
    ) AS p
    """
  }
}
