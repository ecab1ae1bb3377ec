package observe

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/journal.md anew: go test ./observe -run JournalDoc -update")

const journalDoc = "../docs/journal.md"

const docHead = `# The journal of tiproxy

<!-- Written by: go test ./observe -run JournalDoc -update -->

Under systemd tiproxy sends what happens to the journal, with fields, so that it can be asked:

    journalctl -t tiproxy                                       everything, the backend's output as well
    journalctl -t tiproxy TIPROXY_EVENT=session-end             a line for each connection
    journalctl -t tiproxy TIPROXY_OUTCOME=unserved -o verbose   those that met no backend, and why
    journalctl -t tiproxy TIPROXY_INSTANCE=shop -p warning      what went wrong at tiproxy@shop.service
    journalctl -t tiproxy -o json | jq .TIPROXY_WAIT_USEC       how long the clients waited

Without the journal the same entries are lines of text, or objects of JSON. There a field has the name of its
last column, and the event's name is ` + "`event`" + `.

What the backend and the hooks write is told whatever the log's level is. A line of it that begins with a
priority, as in sd-daemon(3), has that level: ` + "`<3>`" + ` and below is an error, ` + "`<4>`" + ` a warning, ` + "`<7>`" + ` is for
debugging.

LogClients= says how much of the clients' addresses is told, in every format: all (` + "`full`" + `), the network
(` + "`masked`" + `: 24 bits of IPv4, 48 of IPv6; of a UNIX socket's client no path) or nothing (` + "`none`" + `). What the
backend and the hooks write is their own, and stays as it is.
`

// doc is docs/journal.md as the tables of kinds and fields say it.
func doc() string {
	var b strings.Builder
	b.WriteString(docHead)
	b.WriteString("\n## Events\n\nNames and IDs stay as they are; a new version may add some.\n\n| TIPROXY_EVENT | what has happened | fields | MESSAGE_ID |\n|---|---|---|---|\n")
	for _, k := range Kinds() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", k.Event, k.Usage, strings.Join(k.Fields, ", "), k.MessageID)
	}
	b.WriteString("\n## Fields\n\n| in the journal | what it says | in JSON |\n|---|---|---|\n")
	for _, f := range Fields() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", f.Journal(), f.Usage, f.Key)
	}
	return b.String()
}

func TestJournalDoc(t *testing.T) {
	if *update {
		if err := os.WriteFile(journalDoc, []byte(doc()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(journalDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != doc() {
		t.Errorf("%s is not what the tables say; run: go test ./observe -run JournalDoc -update", journalDoc)
	}
}
