package shape

import (
	"errors"
	"strings"
	"testing"

	"firstclick/join/event"
)

// uuidShop is the second example of the agreement on shapes.
const uuidShop = `shape:
  clicks:
    topic: web.views
    id: {from: event_id, type: uuid}
    time: {from: ts, unit: ms}
  checkouts:
    topic: web.orders
    id: {from: order.number, type: uuid}
    time: order.placedAt
  match:
    - {click: userId, checkout: order.customer.uuid, type: uuid}
    - {click: item.sku, checkout: order.sku}
  lookups:
    customer: {table: public.customers, key: customer_uuid, from: order.customer.uuid}
    product: {table: shop.products, key: sku, from: order.sku}
  rows:
    table: reporting.sales_with_click
    columns:
      order_no: checkout.order.number
      bought_at: checkout.order.placedAt
      customer: customer.full_name
      segment: customer.segment
      product: product.title
      click: click.event_id
      clicked_at: click.ts
      campaign: click.utm.campaign
      amount: {from: checkout.order.total, type: "numeric(14,4)"}
`

// oneTopic reads both kinds from one topic, with what has to be quoted.
const oneTopic = `shape:
  clicks:
    topic: track
    where: {event: [Product Viewed, "on"], "context.test": false}
    id: messageId
    time: timestamp
    empty: skip
  checkouts:
    topic: track
    where: {event: "Order Completed", "context.test": false}
    id: properties.order_id
    time: {from: $timestamp}
  match:
    - anonymousId
    - {click: 'properties."a.b"[0].sku', checkout: $headers.x-sku}
  lookups:
    m: {table: 'crm."Members"', key: '"Id"', from: userId, mirror: off}
  rows:
    table: public.orders
    columns:
      id: checkout.properties.order_id
      '"At"': checkout.$timestamp
      part: checkout.$partition
      name: m."Full ""Name"""
`

func TestShapesThatAreTaken(t *testing.T) {
	for name, text := range map[string]string{"built in": string(builtinText), "uuid shop": uuidShop,
		"one topic": oneTopic} {
		s, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := s.IsBuiltin(); got != (name == "built in") {
			t.Errorf("%s: is the built-in one: %v", name, got)
		}
		again, err := Parse("again", []byte(s.Text()))
		if err != nil {
			t.Fatalf("%s: what is written out is not read:\n%s\n%v", name, s.Text(), err)
		}
		if again.Text() != s.Text() {
			t.Errorf("%s: written out twice:\n%s\n%s", name, s.Text(), again.Text())
		}
		if d, more := Compare(s, again); len(d)+len(more) > 0 {
			t.Errorf("%s: differs from itself: %v %v", name, d, more)
		}
	}
}

// The rooms hold the contract in code as yet: the built-in shape says the same.
func TestBuiltinIsTodaysContract(t *testing.T) {
	s := Builtin()
	sources := map[string]string{}
	for i := range s.Rows.Columns {
		c := &s.Rows.Columns[i]
		sources[c.Name] = c.Source()
	}
	for _, c := range event.Columns {
		if sources[c.Name] != "checkout."+c.Name {
			t.Errorf("the column %s comes from %q", c.Name, sources[c.Name])
		}
		delete(sources, c.Name)
	}
	for name, source := range map[string]string{
		"user_name": "user.username", "click_id": "click.click_id", "click_time": "click.datetime_occured",
		"checkout_time": "checkout.datetime_occured",
	} {
		if sources[name] != source {
			t.Errorf("the column %s comes from %q", name, sources[name])
		}
		delete(sources, name)
	}
	if len(sources) > 0 {
		t.Errorf("columns that no room writes: %v", sources)
	}
}

func TestWhatIsRead(t *testing.T) {
	s, err := Parse("uuid shop", []byte(uuidShop))
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Rows.Columns[6]; c.Unit != Milliseconds || !s.IsClickTime(&c) {
		t.Errorf("a column of the click's time has its unit: %+v", c)
	}
	if got := s.DeclaredType(&s.Rows.Columns[0]); got != "uuid" {
		t.Errorf("the id's column is made as %s", got)
	}
	s, err = Parse("one topic", []byte(oneTopic))
	if err != nil {
		t.Fatal(err)
	}
	if in := s.Clicks.Where[0].In; len(in) != 2 || in[1] != (Literal{String, "on"}) ||
		s.Clicks.Where[1].In[0] != (Literal{Bool, "false"}) {
		t.Errorf("where is %+v", s.Clicks.Where)
	}
	if steps := s.Match[1].Click.Steps; len(steps) != 4 || steps[1].Member != "a.b" || !steps[2].IsIndex {
		t.Errorf("a path with quotes and an index is %+v", steps)
	}
	if h := s.Match[1].Checkout; h.Meta != Header || h.Header != "x-sku" {
		t.Errorf("a header is %+v", h)
	}
	if l := s.Lookups[0]; l.Table != (Table{"crm", "Members"}) || l.Key != "Id" || !l.ReadThrough {
		t.Errorf("a lookup named as in SQL is %+v", l)
	}
	if c := s.Rows.Columns; c[1].Name != "At" || c[3].LookupColumn != `Full "Name"` || s.HasClicks() {
		t.Errorf("columns are %+v", c)
	}
}

// Everything that is wrong is said, each with its line and with what to write instead.
func TestAllThatIsWrongInOneList(t *testing.T) {
	_, err := Parse("f.yaml", []byte(`shape:
  clicks:
    topic: [a, b]
    id: {type: uuid}
    tyme: ts
  checkouts:
    topic: orders
    format: xml
    id: order..id
    time: {from: t, unit: h}
    where: {a: null, b: yes, b: 2020-01-01}
  match: []
  lookups:
    click: {table: users, key: id}
  rows:
    table: public.t
    columns:
      a: order.id
      b: checkout
      c: {from: checkout.x, type: money}
      a: click.$nothing
`))
	var p *DeclarationError
	if !errors.As(err, &p) {
		t.Fatal(err)
	}
	text := p.Error()
	for _, want := range []string{
		"f.yaml:3: clicks.topic: one topic stands here, not a list",
		"f.yaml:4: clicks.id: from is missing",
		`f.yaml:5: clicks: there is no word "tyme"; the words are topic, format, where, id, time, empty`,
		"f.yaml:3: clicks: time is missing",
		`f.yaml:8: checkouts.format: "xml" is none of json, registry`,
		`f.yaml:9: checkouts.id: "order..id" is no path: a member's name is missing`,
		`f.yaml:10: checkouts.time.unit: "h" is none of s, ms, us, ns`,
		"f.yaml:11: checkouts.where: a: null is no value to compare with",
		"f.yaml:11: checkouts.where: b: put yes in quotes",
		`f.yaml:11: checkouts.where: "b" stands here a second time`,
		"f.yaml:12: match: 1 to 4 pairs stand here, not 0",
		`f.yaml:14: lookups.click.table: "users" is no table: name the schema too, as in public.users`,
		"f.yaml:14: lookups.click: from is missing",
		"f.yaml:14: lookups: a lookup may not be called click",
		`f.yaml:18: rows.columns.a: nothing is called "order"; before the dot stands one of checkout, click`,
		`f.yaml:19: rows.columns.b: "checkout" is no source`,
		`f.yaml:20: rows.columns.c.type: "money" is none of the types`,
		`f.yaml:21: rows.columns: "a" stands here a second time`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing: %s\nin:\n%s", want, text)
		}
	}
}

// A key that stands twice is one problem, not one for each reading of the mapping.
func TestAKeyThatStandsTwiceIsSaidOnce(t *testing.T) {
	_, err := Parse("f", []byte(uuidShop+"  match: [a]\n"))
	var d *DeclarationError
	if !errors.As(err, &d) || len(d.List) != 1 || !strings.Contains(err.Error(), `"match" stands here a second time`) {
		t.Errorf("%v", err)
	}
}

// What each part alone allows, and together does not mean anything.
func TestWhatDoesNotGoTogether(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"no id column", "      order_no: checkout.order.number\n", "", "rows.columns: a column with the source " +
			"checkout.order.number is missing"},
		{"no time column", "      bought_at: checkout.order.placedAt\n", "",
			"a column with the source checkout.order.placedAt is missing"},
		{"no click id", "      click: click.event_id\n", "", "a column with the source click.event_id is missing"},
		{"no click time", "      clicked_at: click.ts\n", "", "a column with the source click.ts is missing"},
		{"time of another unit", "      clicked_at: click.ts\n", "      clicked_at: {from: click.ts, unit: s}\n",
			"a column with the source click.ts is missing"},
		{"unused lookup", "      product: product.title\n", "", "lookups.product: no column uses it"},
		{"column twice", "      segment: customer.segment\n", "      CUSTOMER: customer.segment\n",
			"the table has one column customer"},
		{"type of an id", "      order_no: checkout.order.number\n", "      order_no: {from: checkout.order.number, " +
			"type: text}\n", "an id of type uuid goes into a column of type uuid, not text"},
		{"rounded time", "      bought_at: checkout.order.placedAt\n",
			"      bought_at: {from: checkout.order.placedAt, type: timestamptz(3)}\n", "six digits, not " +
				"timestamptz(3)"},
		{"type of a click's value", "      campaign: click.utm.campaign\n",
			"      campaign: {from: click.utm.campaign, type: jsonb}\n", "a value of the click goes into one of"},
		{"one topic", "topic: web.orders", "topic: web.views", "both need a where that tells them apart"},
		{"partition as an id", "id: {from: event_id, type: uuid}", "id: $partition",
			"$partition may stand in rows.columns only"},
		{"five matches", "  match:\n", "  match: [a, b, c, d, e]\n  unused:\n", "1 to 4 pairs stand here, not 5"},
		{"from with checkout.", "from: order.sku}", "from: checkout.order.sku}",
			"without checkout. before it: order.sku"},
	} {
		text := strings.Replace(uuidShop, c.from, c.to, 1)
		if text == uuidShop {
			t.Fatalf("%s: nothing is replaced", c.name)
		}
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant: %s", c.name, err, c.want)
		}
	}
}

func TestBothKindsFromOneTopicAreApart(t *testing.T) {
	with := func(clicks, checkouts string) error {
		text := strings.Replace(oneTopic, `{event: [Product Viewed, "on"], "context.test": false}`, clicks, 1)
		_, err := Parse("f", []byte(strings.Replace(text, `{event: "Order Completed", "context.test": false}`,
			checkouts, 1)))
		return err
	}
	for _, c := range []struct{ clicks, checkouts, want string }{
		{"{event: a}", "{event: b}", ""},
		{"{event: 1}", `{event: "1"}`, ""},
		{"{event: 1.0}", "{event: 1}", "a record may be both"},
		{"{event: [a, b]}", "{event: [b, c]}", "a record may be both"},
		{"{event: a, x: 1}", "{event: a, x: 2}", ""},
		{"{event: a}", "{event: b, x: 2}", "both where name the same paths"},
	} {
		err := with(c.clicks, c.checkouts)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s and %s: %v, want %q", c.clicks, c.checkouts, err, c.want)
		}
	}
}

func TestOneChangeIsSafe(t *testing.T) {
	was, err := Parse("was", []byte(uuidShop))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, differs, appended string }{
		{"# nothing", "", "", ""},
		{`type: "numeric(14,4)"}`, "type: \"numeric(14,4)\"}\n      coupon: checkout.coupon", "", "coupon"},
		{"      order_no:", "      coupon: checkout.coupon\n      order_no:", "rows.columns", ""},
		{"unit: ms", "unit: s", "clicks.time", ""},
		{"topic: web.views", "topic: web.clicks", "clicks.topic", ""},
		{"type: uuid}\n    - ", "type: text}\n    - ", "match", ""},
		{"key: sku", "key: id", "lookups", ""},
		{"table: reporting.", "table: public.", "rows.table", ""},
		{"from: order.sku}", "from: order.sku, mirror: off}", "", ""},
	} {
		now, err := Parse("now", []byte(strings.Replace(uuidShop, c.from, c.to, 1)))
		if err != nil {
			t.Fatal(c.to, err)
		}
		differences, appended := Compare(was, now)
		var parts, names []string
		for _, d := range differences {
			parts = append(parts, d.Part)
		}
		for _, a := range appended {
			names = append(names, a.Name)
		}
		wantAppended := c.appended
		if got := strings.Join(names, " "); got != wantAppended {
			t.Errorf("%s: appended %q, want %q", c.to, got, wantAppended)
		}
		if got := strings.Join(parts, " "); c.differs != "" && !strings.Contains(got, c.differs) ||
			c.differs == "" && got != "" {
			t.Errorf("%s: differs in %q, want %q", c.to, got, c.differs)
		}
	}
}

// Whatever the file holds: a shape that is written out and read again, or problems; no panic.
func FuzzParse(f *testing.F) {
	for _, text := range []string{string(builtinText), uuidShop, oneTopic, "shape: &a [*a]", "shape: {clicks: *x}",
		"", "---\n---\n", "shape:\n  <<: {a: 1}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("f", text)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		again, err := Parse("again", []byte(s.Text()))
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Text())
		}
		if d, more := Compare(s, again); len(d)+len(more) > 0 {
			t.Errorf("%v %v\n%s", d, more, s.Text())
		}
	})
}
