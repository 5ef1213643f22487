// Health says how others read an object's status: kstatus (Flux, Helm, kubectl's kin), and a health check of Argo CD.
//
// It reads a JSON list of objects from standard input, and writes a list of answers in their order. Its one argument is
// a file with the health check, in Lua. Arrays of Lua and its numbers come and go as they do in Argo CD.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Health is a status in one word, and why.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Answer is what is said of one object.
type Answer struct {
	Kstatus Health `json:"kstatus"`
	Argo    Health `json:"argo"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	answers := []Answer{}
	for _, object := range objects {
		kstatus, err := byKstatus(object)
		if err != nil {
			return err
		}
		argo, err := byArgo(string(script), object)
		if err != nil {
			return err
		}
		answers = append(answers, Answer{kstatus, argo})
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func byKstatus(object map[string]any) (Health, error) {
	// Clients decode whole numbers as int64, and kstatus knows no others.
	text, err := json.Marshal(object)
	if err != nil {
		return Health{}, err
	}
	read := &unstructured.Unstructured{}
	if err := read.UnmarshalJSON(text); err != nil {
		return Health{}, err
	}
	result, err := status.Compute(read)
	if err != nil {
		return Health{}, err
	}
	return Health{string(result.Status), result.Message}, nil
}

// byArgo says of what is being deleted what Argo CD says without a check, and else runs it.
// Source: gitops-engine, pkg/health/health.go, GetResourceHealth.
func byArgo(script string, object map[string]any) (Health, error) {
	if metadata, _ := object["metadata"].(map[string]any); metadata["deletionTimestamp"] != nil {
		return Health{"Progressing", "Pending deletion"}, nil
	}
	return byLua(script, object)
}

// byLua runs the check as Argo CD does without resource.customizations.useOpenLibs: with these libraries, a second of
// time, and the object as global obj. Source: argo-cd, util/lua/lua.go, VM.runLua and ExecuteHealthLua.
func byLua(script string, object map[string]any) (Health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		if err := state.CallByParam(
			lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}, lua.LString(library.name),
		); err != nil {
			return Health{}, err
		}
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return Health{}, err
	}
	text, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return Health{}, err
	}
	health := Health{}
	return health, json.Unmarshal(text, &health)
}
