import SafeSQL

extension RetentionSchema {
  /// Locks the tables that exist, in `mode` (an expression over a table's name `t`), until the file commits.
  ///
  /// Writers lock tables in orders of their own. Who waits for a table while it holds another can be part of a deadlock,
  /// and whoever has waited for `deadlock_timeout` then fails. So that it is never a writer, the file gives back what it
  /// has before any writer's time is up, and tries again.
  ///
  /// - Parameter functions: a query of functions that are to be dropped with their triggers. Whatever tables have such
  ///   triggers are locked too, and first, in the mode that dropping one takes.
  func lockTables(_ tables: [QualifiedName], _ mode: SQL, droppingTriggersOf functions: SQL? = nil) -> SQL {
    var mode = mode
    var (losing, first): (SQL, SQL) = ("", "")
    if let functions {
      losing = """

        losing   constant text[] := ARRAY(
          SELECT DISTINCT g.tgrelid::pg_catalog.regclass::text FROM pg_catalog.pg_trigger AS g
          WHERE g.tgfoid IN (
            \(functions)
          )
          ORDER BY 1
        );
        """
      first = "losing || "
      mode = "CASE WHEN t = ANY (losing) THEN 'ACCESS EXCLUSIVE' ELSE \(mode) END"
    }
    let body: SQL = """
      DECLARE
        patience constant double precision := (SELECT s.setting::double precision / 2 FROM pg_catalog.pg_settings AS s WHERE s.name = 'deadlock_timeout');
        given    constant text := pg_catalog.current_setting('lock_timeout');
        limit_ms constant double precision := (SELECT nullif(s.setting::double precision, 0) FROM pg_catalog.pg_settings AS s WHERE s.name = 'lock_timeout');
        began    constant timestamptz := pg_catalog.clock_timestamp();
        attempt  timestamptz;
        t        text;\(losing)
      BEGIN
        LOOP
          attempt := pg_catalog.clock_timestamp();
          BEGIN
            FOREACH t IN ARRAY \(first)ARRAY[
              \(SQL.joined(tables.map(literal)))
            ] LOOP
              CONTINUE WHEN pg_catalog.to_regclass(t) IS NULL;
              PERFORM pg_catalog.set_config('lock_timeout', greatest(1, pg_catalog.round(patience
                - 1000 * extract(epoch FROM pg_catalog.clock_timestamp() - attempt)))::text, true);
              EXECUTE pg_catalog.format('LOCK TABLE %s IN %s MODE', t, \(mode));
            END LOOP;
            PERFORM pg_catalog.set_config('lock_timeout', given, true);
            EXIT;
          EXCEPTION WHEN lock_not_available THEN
            IF pg_catalog.clock_timestamp() >= began + pg_catalog.make_interval(secs => limit_ms / 1000) THEN
              RAISE;
            END IF;
          END;
          PERFORM pg_catalog.pg_sleep(0.05);
        END LOOP;
      END
      """
    return """
      -- All tables before anything else. Writers lock them in orders of their own, so this may stand in a circle with one of
      -- them; it gives up what it has and tries again before a writer's deadlock_timeout is over and the writer fails.
      DO \(body.dollarQuoted());
      """
  }
}
