package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"firstclick/cdc"
)

// judgeName compares a row's name with the user's. Names change, and rows keep the old one, so only
// a missing name can be wrong; unless Config.Names says that names do not change.
func (v *verifyRun) judgeName(k *item, w *window) {
	var is optional
	if w.exists {
		is = w.name
	}
	switch {
	case w.exists && !k.name.valid:
		fresh, noted := v.snap.unknownUsers[k.id]
		switch {
		case !noted:
			v.nameExample(KindUnfilled, k, "the name of user %d, or a note that it is to be filled in")
		case fresh || !v.snap.running:
			v.nameExample(KindPending, k, "the name of user %d, as soon as firstclick runs")
		default:
			v.unfilled = append(v.unfilled, *k)
		}
	case v.cfg.Names && k.name != is:
		v.nameExample(KindDifferent, k, "user_name "+is.String()+" of user %d")
	}
}

func (v *verifyRun) nameExample(kind Kind, k *item, format string) {
	v.addExample(kind, k, fmt.Sprintf(format, k.user), "user_name "+k.name.String())
}

// lookAgain reads whether names that should have been filled in are there by now: a user may have
// been added just before the snapshot.
func (v *verifyRun) lookAgain(ctx context.Context) error {
	if len(v.unfilled) == 0 {
		return nil
	}
	conn, err := connect(ctx, v.cfg.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	ids := make([]string, len(v.unfilled))
	for i, k := range v.unfilled {
		ids[i] = k.id
	}
	var id string
	filled := map[string]bool{}
	if err := each(ctx, conn, "look again for names", []any{&id}, func() error {
		filled[id] = true
		return nil
	}, `SELECT checkout_id::text FROM commerce.attributed_checkouts
		WHERE checkout_id = ANY($1::text[]) AND user_name IS NOT NULL`, ids); err != nil {
		return err
	}
	for i := range v.unfilled {
		if k := &v.unfilled[i]; filled[k.id] {
			v.nameExample(KindPending, k, "the name of user %d, filled in meanwhile")
		} else {
			v.nameExample(KindUnfilled, k, "the name of user %d, noted over a minute ago")
		}
	}
	return nil
}

// readUsers sorts who exists, when some row's name has to be judged by it.
func (r *run) readUsers(ctx context.Context, tx pgx.Tx) error {
	s := &r.snap
	s.unknownUsers = map[string]bool{}
	if s.nameless == 0 && !r.cfg.Names {
		return nil
	}
	r.progress.phase("users", 0)
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('commerce.users') IS NOT NULL`).Scan(&there); err != nil {
		return fmt.Errorf("look for commerce.users: %w", err)
	}
	if !there {
		r.note("there is no table commerce.users: names are not checked")
		return nil
	}
	// Events have ids of 32 bits, so no event is of a user beyond them. A user without a name
	// counts as absent.
	user := item{kind: kindUser, event: event{time: noTime}}
	var name *string
	err := each(ctx, tx, "read users", []any{&user.user, &name}, func() error {
		if r.cfg.Names {
			user.name = optionalOf(name)
		}
		r.byKey.add(&user)
		return nil
	}, `SELECT id::int, `+cdc.UsernameSQL+` FROM commerce.users
		WHERE id BETWEEN -2147483648 AND 2147483647 AND username IS NOT NULL`)
	if err != nil {
		return err
	}
	var checkout string
	var fresh bool
	return each(ctx, tx, "read firstclick.unknown_users", []any{&checkout, &fresh}, func() error {
		s.unknownUsers[checkout] = fresh
		return nil
	}, `SELECT n.checkout_id::text, n.noted_at > now() - interval '1 minute'
		FROM firstclick.unknown_users n JOIN commerce.users u ON u.id = n.user_id AND u.username IS NOT NULL`)
}
