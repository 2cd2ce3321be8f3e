package audit

import (
	"context"
	"fmt"
	"slices"

	"firstclick/internal/pgsession"

	"github.com/jackc/pgx/v5"
)

// named is a row's user_name in its sort: by user.
type named struct {
	user      int32
	id        string
	partition int32
	offset    int64
	name      optional
}

func (n named) append(b []byte) []byte {
	return appendOptional(appendInt64(appendInt32(appendText(appendInt32(b, n.user), n.id), n.partition), n.offset), n.name)
}

func parseNamed(item []byte) (n named) {
	f := fields(item)
	n.user, n.id, n.partition, n.offset, n.name = f.int32(), f.text(), f.int32(), f.int64(), f.optional()
	return n
}

// userName is a user in its sort: by id.
type userName struct {
	user int32
	name optional
}

func parseUserName(item []byte) (u userName) {
	f := fields(item)
	u.user, u.name = f.int32(), f.optional()
	return u
}

func (a *audit) askName(k checkout, name optional) error {
	return a.nameSort.Add(named{user: k.user, id: k.id, partition: k.partition, offset: k.offset, name: name}.append(nil))
}

// checkNames merges the rows' names with the users. Names change, and rows keep the old one, so only a missing name can
// be wrong; unless Config.Names says that names do not change.
func (a *audit) checkNames(ctx context.Context) error {
	a.progress.phase("names compared", a.nameSort.count)
	names, err := newStream(a.nameSort, parseNamed)
	if err != nil {
		return err
	}
	defer names.Close()
	users, err := newStream(a.snap.users, parseUserName)
	if err != nil {
		return err
	}
	defer users.Close()
	var late []named // noted as unknown, and not filled in within a minute
	for names.ok {
		n := names.head
		for users.ok && users.head.user < n.user {
			if err := users.next(); err != nil {
				return err
			}
		}
		var is optional
		exists := users.ok && users.head.user == n.user
		if exists {
			is = users.head.name
		}
		switch {
		case exists && !n.name.valid:
			fresh, noted := a.snap.noted[n.id]
			switch {
			case !noted:
				a.nameExample(KindUnfilled, n, "the name of user %d, or a note that it is to be filled in")
			case fresh || !a.snap.running:
				a.nameExample(KindPending, n, "the name of user %d, as soon as firstclick runs")
			default:
				late = append(late, n)
			}
		case a.cfg.Names && n.name != is:
			a.nameExample(KindDifferent, n, "user_name "+is.String()+" of user %d")
		}
		a.progress.add(1)
		if err := names.next(); err != nil {
			return err
		}
	}
	return a.lookAgain(ctx, late)
}

func (a *audit) nameExample(kind Kind, n named, format string) {
	k := checkout{partition: n.partition, offset: n.offset}
	k.id = n.id
	a.addExample(kind, k, fmt.Sprintf(format, n.user), "user_name "+n.name.String())
}

// lookAgain asks whether names that should have been filled in are there by now: a user may have been added just before the snapshot.
func (a *audit) lookAgain(ctx context.Context, late []named) error {
	if len(late) == 0 {
		return nil
	}
	conn, err := pgsession.Connect(ctx, a.cfg.Database, application)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for batch := range slices.Chunk(late, 1000) {
		ids := make([]string, len(batch))
		for i, n := range batch {
			ids[i] = n.id
		}
		rows, err := conn.Query(ctx, `SELECT checkout_id::text FROM commerce.attributed_checkouts WHERE checkout_id = ANY($1::text[]) AND user_name IS NOT NULL`, ids)
		if err != nil {
			return fmt.Errorf("look again for names: %w", err)
		}
		filled, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("look again for names: %w", err)
		}
		slices.Sort(filled)
		for _, n := range batch {
			if _, ok := slices.BinarySearch(filled, n.id); ok {
				a.nameExample(KindPending, n, "the name of user %d, filled in meanwhile")
			} else {
				a.nameExample(KindUnfilled, n, "the name of user %d, noted over a minute ago")
			}
		}
	}
	return nil
}
