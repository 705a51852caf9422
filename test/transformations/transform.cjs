// Reads panels with the answers of Prometheus and Loki to their queries, and writes the tables that Grafana shows of
// them: its own transformations, value mappings and units, on frames as its data sources make them.
const grafana = require('@grafana/data');

// What the library asks the browser for when it works. Before, it would take this for a browser.
globalThis.navigator = { languages: ['en'] };
globalThis.window = globalThis;

const { mergeTransformer, organizeFieldsTransformer, filterFieldsByNameTransformer } = grafana.standardTransformers;
grafana.standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer, filterFieldsByNameTransformer].map((transformation) => ({
    id: transformation.id, name: transformation.name, transformation: () => transformation,
  })));

// extractFields is a transformation that is part of Grafana and not of its library. With the dashboard's options it adds
// a field for each key of an object.
function extractFields({ source }, frame) {
  const objects = frame.fields.find((field) => field.name === source).values;
  const keys = [...new Set(objects.flatMap(Object.keys))];
  return { ...frame, fields: [...frame.fields, ...keys.map((key) => field(key, 'string', objects.map((o) => o[key])))] };
}

function field(name, type, values) {
  return { name, type, values, config: {} };
}

// table is how either data source gives a table the series of one query: a column for each label, and the value. The
// only answer of Prometheus is not numbered.
function table({ refId, source, result }, of) {
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  return grafana.toDataFrame({
    refId,
    fields: result.length === 0 ? [] : [
      field('Time', 'time', result.map((series) => series.value[0] * 1000)),
      ...labels.map((label) => field(label, 'string', result.map((series) => series.metric[label] ?? ''))),
      field(source === 'prometheus' && of === 1 ? 'Value' : `Value #${refId}`, 'number', result.map((series) => Number(series.value[1]))),
    ],
  });
}

// records are a frame of log records, with the names that older and newer versions of Grafana give the fields.
function records({ refId, result }, [labels, time, line]) {
  return grafana.toDataFrame({
    refId,
    fields: [
      field(labels, 'other', result.map((record) => record.labels)),
      field(time, 'time', result.map((record) => record.time)),
      field(line, 'string', result.map((record) => record.line)),
      field('id', 'string', result.map((_, i) => String(i))),
    ],
  });
}

// shown is a cell as text, with the value mappings, unit and decimals that the panel sets for its column.
function shown(column, overrides) {
  const properties = overrides.filter((o) => o.matcher.options === column.name).flatMap((o) => o.properties);
  const config = Object.fromEntries(properties.filter((p) => ['mappings', 'unit', 'decimals'].includes(p.id)).map((p) => [p.id, p.value]));
  const display = grafana.getDisplayProcessor({ field: { ...column, config }, theme: grafana.createTheme(), timeZone: 'utc' });
  return (value) => {
    const { prefix = '', text, suffix = '' } = display(value);
    return prefix + text + suffix;
  };
}

async function transform({ title, transformations, overrides, frames }) {
  if (transformations[0].id === 'extractFields') {
    const { options } = transformations.shift();
    frames = frames.map((frame) => extractFields(options, frame));
  }
  // Grafana leaves out what it does not know.
  transformations.forEach(({ id }) => grafana.standardTransformersRegistry.get(id));
  const result = await new Promise((next, error) => {
    grafana.transformDataFrame(transformations, frames).subscribe({ next, error });
  });
  if (result.length > 1) {
    throw new Error(`${title}: ${result.length} tables, not one`);
  }
  if (result.length === 0) {
    return { title, columns: [], rows: [] };
  }
  const fields = result[0].fields.map((f) => ({ ...f, name: grafana.getFieldDisplayName(f, result[0], result) }));
  const texts = fields.map((f) => shown(f, overrides));
  return {
    title,
    columns: fields.map((f) => f.name),
    rows: Array.from({ length: result[0].length }, (_, row) =>
      fields.map((f, i) => ({ value: f.values[row] ?? null, text: texts[i](f.values[row]) }))),
  };
}

const panels = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const tables = panels.flatMap(({ title, transformations, overrides, answers }) => {
  const shapes = answers[0].source === 'records' ? [['labels', 'Time', 'Line'], ['labels', 'timestamp', 'body']] : [null];
  return shapes.map((shape) => transform({
    title, transformations: [...transformations], overrides,
    frames: answers.map((answer) => (shape ? records(answer, shape) : table(answer, answers.length))),
  }));
});
Promise.all(tables).then((all) => process.stdout.write(JSON.stringify(all)));
