package pgtest

import (
	"fmt"
	"strings"
)

// trojans is SQL that makes operators and functions in schema public whose arguments fit better
// than those of pg_catalog, as anybody may who can create there. One that a session of firstclick
// calls by itself, not by a trigger's function, is an error.
// https://www.postgresql.org/docs/current/typeconv-oper.html
func trojans() string {
	var sql strings.Builder
	sql.WriteString(`CREATE FUNCTION public.trojan(what text) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE stack text;
		BEGIN
			GET DIAGNOSTICS stack = PG_CONTEXT;
			IF pg_catalog.current_setting('firstclick.search_path', true) IS NOT NULL AND
				pg_catalog.array_length(pg_catalog.regexp_split_to_array(stack, 'PL/pgSQL function'), 1)
				OPERATOR(pg_catalog.<) 4 THEN
				RAISE EXCEPTION 'a trojan was called: %', what;
			END IF;
		END $$;`)
	pairs := []string{"varchar varchar", "varchar text", "text varchar", "oid regclass", "xid int8", "name text",
		"name varchar"}
	for i, operator := range []string{"=", "<>", "<", ">", "<=", ">="} {
		for _, pair := range pairs {
			left, right, _ := strings.Cut(pair, " ")
			name := fmt.Sprintf("public.trojan_%d_%s_%s", i, left, right)
			fmt.Fprintf(&sql, `CREATE FUNCTION %[1]s(a %[2]s, b %[3]s) RETURNS boolean LANGUAGE plpgsql AS $$
				BEGIN PERFORM public.trojan('%[2]s %[4]s %[3]s'); RETURN a::text OPERATOR(pg_catalog.%[4]s) b::text;
					END $$;
				CREATE OPERATOR public.%[4]s (LEFTARG = %[2]s, RIGHTARG = %[3]s, FUNCTION = %[1]s);`, name, left,
				right, operator)
		}
	}
	// name, parameters, result and how pg_catalog's is called
	for _, f := range [][4]string{
		{"lower", "a varchar", "text", "lower(a)"}, {"upper", "a varchar", "text", "upper(a)"},
		{"left", "a varchar, n int", "text", "left(a, n)"},
		{"length", "a varchar", "int", "length(a)"}, {"octet_length", "a varchar", "int", "octet_length(a)"},
		{"concat", "a varchar", "text", "concat(a)"},
		{"concat_ws", "s text, a text", "text", "concat_ws(s, a)"}, {"unnest", "a text[]", "SETOF text", "unnest(a)"},
		{"unnest", "a int[]", "SETOF int", "unnest(a)"},
		{"cardinality", "a int8[]", "int", "cardinality(a)"},
		{"array_append", "a text[], b text", "text[]", "array_append(a, b)"},
	} {
		give := "RETURN "
		if strings.HasPrefix(f[2], "SETOF") {
			give = "RETURN QUERY SELECT "
		}
		fmt.Fprintf(&sql, `CREATE FUNCTION public.%[1]s(%[2]s) RETURNS %[3]s LANGUAGE plpgsql AS $$
			BEGIN PERFORM public.trojan('%[1]s(%[2]s)'); %[4]spg_catalog.%[5]s; END $$;`, f[0], f[1], f[2], give, f[3])
	}
	return sql.String()
}
