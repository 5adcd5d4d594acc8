// Runs server.mjs, which the test writes beside this file from docs/sdks.md, and prints what each user is served.
import { shop } from './server.mjs';

const answers = [];
for (const user of process.argv.slice(2)) {
  const { value, variant, reason, errorCode } = await shop(user);
  answers.push({ value, variant, reason, errorCode: errorCode ?? null });
}
console.log(JSON.stringify(answers));
